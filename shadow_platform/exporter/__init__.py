"""The exporter: the state of what is no service, as Prometheus metrics that ``shadow metrics`` serves.

Belongs here: reading tables, logs, Dagster's storage and disks now and then, at a bounded cost. Does not belong here:
counting requests (``bento``), deciding what is bad (alert rules). Upstream: what the others wrote; it writes nothing.
Downstream: Prometheus.
"""
