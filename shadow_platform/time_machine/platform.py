"""The platform as a journey uses it: its home, its clock, and nobody who looks at pictures or deploys a Bento.

Belongs here: what a journey leaves out, and what it need not read twice because nobody else changes it. Does not belong
here: any other way to compute something. Upstream: ``resources``. Downstream: every asset that a journey runs.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.model_card import ModelCard
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import GateDecision, GateSequence
from shadow_platform.pictures import Pictures
from shadow_platform.resources import PlatformResource
from shadow_platform.settings import Settings, load_settings

if TYPE_CHECKING:
    from shadow_platform.adapters.bundle import Bundle

# A journey plays in its home alone, whatever else the environment names; MLflow itself notes there where it was last.
ALONE = {"mlflow_tracking_uri": None, "feature_store": "local", "kafka_bootstrap_servers": None, "alert_urls": None}


class NoPictures:
    """Draws nothing: a picture costs more than the decision it illustrates, and here nobody sees it."""

    def training(self, *_: Any, **__: Any) -> tuple[dict[str, bytes], str]:
        """No pictures of a training, by name and as markdown."""
        return {}, ""

    def __getattr__(self, _name: str) -> Callable[..., str]:
        """Every other picture is markdown."""
        return lambda *_, **__: ""


class SimulatedPlatform(PlatformResource):
    """The platform of one home that only one journey uses."""

    @property
    def settings(self) -> Settings:
        """Settings in force, read once, without the servers that others share."""
        return _settings(self.shadow_home)

    def bundle(self, use_case: UseCase, version: str) -> "Bundle":
        """Bundle of a registered version; a version never changes, so it is read once."""
        return _bundle(self.shadow_home, use_case.name, version, super().bundle, use_case)

    def pictures(self) -> Pictures:
        """None."""
        return cast(Pictures, NoPictures())

    def card_documents(self, card: ModelCard, _pictures: Mapping[str, bytes]) -> dict[str, bytes]:
        """The card as JSON alone."""
        from shadow_platform.adapters.pages.card import card_json

        return {"card.json": card_json(card)}

    def write_decision_page(
        self, use_case: UseCase, decision: GateDecision, _sequence: GateSequence, _shown: Any
    ) -> tuple[Path, str | None]:
        """Where the page would be; ``shadow gate show`` makes it from the stored decision."""
        return self.layout.decision_page(use_case.name, decision.decision_id), None

    def build_bento(self, _use_case: UseCase, manifest: DeploymentManifest) -> str:
        """The tag that a Bento of the deployment would have; a simulated service needs none."""
        return f"none:g{manifest.generation}-simulated"


@lru_cache(maxsize=8)
def _settings(home: str) -> Settings:
    return load_settings().model_copy(update={**ALONE, "shadow_home": Path(home)})


_BUNDLES: dict[tuple[str, str, str], "Bundle"] = {}


def _bundle(home: str, name: str, version: str, load: Any, use_case: UseCase) -> "Bundle":
    key = (home, name, version)
    if key not in _BUNDLES:
        _BUNDLES[key] = load(use_case, version)
    return _BUNDLES[key]
