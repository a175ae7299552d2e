"""The serving side: a BentoML service that answers from the champion, and a process that scores in the shadow.

Belongs here: everything that runs beside callers. Does not belong here: Dagster, MLflow, Evidently, the warehouse;
what decides and what trains. Upstream: deployment manifest, bundles, online features. Downstream: the two logs.
"""
