"""The deployment manifest: which models a use case serves right now.

Promotion writes it (atomically, after the registry alias); serving workers and the shadow worker watch it.
"""

from datetime import datetime

from shadow_platform.contracts.verdicts import Frozen


class DeployedModel(Frozen):
    """One model in service, by exact registry version and bundle hash."""

    version: str
    bundle_hash: str
    model_name: str
    since: datetime


class Canary(Frozen):
    """A challenger that answers a share of entities, sticky by ``hash(salt + subject_id)``."""

    model: DeployedModel
    share: float
    salt: str


class DeploymentManifest(Frozen):
    """Everything a worker must load. ``generation`` only grows; a worker ignores a lower one."""

    use_case: str
    generation: int
    champion: DeployedModel
    previous: DeployedModel | None = None
    challengers: tuple[DeployedModel, ...] = ()
    canary: Canary | None = None
    written_at: datetime
