"""The deployment manifest: which models a use case serves right now.

Promotion writes it (atomically, after the registry alias); serving workers and the shadow worker watch it.
"""

from datetime import datetime

from pydantic import ConfigDict, Field

from shadow_platform.contracts.verdicts import Frozen

MAX_CHALLENGERS = 3


class DeployedModel(Frozen):
    """One model in service, by exact registry version and bundle hash.

    Attributes:
        since: when it was deployed in this role; a challenger is due every prediction logged from then on.
        sample_rate: share of requests it scores as a challenger; may change while it runs.
        max_lag_s: as a challenger it drops predictions older than this, seconds; ``None``: never.
    """

    version: str
    bundle_hash: str
    model_name: str
    since: datetime
    sample_rate: float = Field(1.0, ge=0.0, le=1.0)
    max_lag_s: float | None = Field(None, gt=0.0)


class Canary(Frozen):
    """A challenger that answers a share of subjects, sticky by ``hash(salt + subject_id)``.

    Attributes:
        share: share of subjects it answers; 0 once it was halted.
        salt: of this rollout alone, so that each rollout meets other subjects first.
        halted_reason: why it was taken back before its share was raised to 1; ``None`` while it answers.
    """

    model: DeployedModel
    share: float = Field(ge=0.0, le=1.0)
    salt: str
    started_at: datetime
    halted_reason: str | None = None


class WorkerState(Frozen):
    """What one serving worker answers with, as it says itself; see ``Layout.worker_states``.

    Workers and commands of two versions of the platform meet here: what one does not know yet it leaves out.

    Attributes:
        generation: of the manifest that is loaded; ``None`` before the first.
        refusal: why not everything of the newest manifest is in service.
        refused_generation: of the manifest that the refusal is about; ``None``: nothing is refused, or the manifest
            cannot be read.
        refused_version: the model of it that is not in service.
        seen_at: last sign of life.
    """

    model_config = ConfigDict(extra="ignore")

    pid: int
    generation: int | None
    champion_version: str | None
    canary_version: str | None
    refusal: str | None
    refused_generation: int | None = None
    refused_version: str | None = None
    loaded_at: datetime | None
    seen_at: datetime


class DeploymentManifest(Frozen):
    """Everything a worker must load. ``generation`` only grows; a worker ignores a lower one.

    Attributes:
        probation_until: until then a champion that breaches the service's objectives is rolled back by itself.
    """

    use_case: str
    generation: int
    champion: DeployedModel
    previous: DeployedModel | None = None
    challengers: tuple[DeployedModel, ...] = ()
    canary: Canary | None = None
    probation_until: datetime | None = None
    written_at: datetime

    def kept(self, rolling: str | None = None) -> tuple[str, ...]:
        """Challengers that no newer one displaces: an answering canary, the champion before, a rollout's version.

        Args:
            rolling: version of the rollout under way.
        """
        answering = self.canary.model.version if self.canary and self.canary.share > 0 else None
        kept = {answering, rolling, self.previous.version if self.previous else None}
        return tuple(model.version for model in self.challengers if model.version in kept)
