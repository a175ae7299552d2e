"""A home of use case ``tiny`` whose events, features, frame and champion model were made by the real assets.

Belongs here: what tests of lineage, data pull and reproduction share. Does not belong here: assertions. Upstream: tiny,
the asset factories. Downstream: those tests.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from shadow_platform.assets.events import build_event_assets
from shadow_platform.assets.features import build_feature_assets
from shadow_platform.assets.training import build_training_assets
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE

NAME = "shadow_platform_tests.tiny:USE_CASE"
LAST_DAY = FIRST_DAY + timedelta(days=24)
EVENTS = ("raw_events", "events", "quarantined_events")
RANGE = {"dagster/asset_partition_range_start": str(FIRST_DAY), "dagster/asset_partition_range_end": str(LAST_DAY)}


class TinyHome:
    """One home and the Dagster instance that made it.

    Args:
        use_case: ``tiny``, or a variation of it.
    """

    def __init__(self, home: Path, instance: dg.DagsterInstance, use_case: UseCase = USE_CASE) -> None:
        self.home, self.instance, self.use_case = home, instance, use_case
        self.platform = PlatformResource(shadow_home=str(home))

    def make_data(self) -> "TinyHome":
        """Events and features of 25 days."""
        self.materialize(*EVENTS, tags=RANGE)
        self.materialize("visitor_history", tags=RANGE)
        self.materialize("feature_definitions")
        return self

    def materialize(self, *names: str, tags: dict[str, str] | None = None, **config: Any) -> dict[str, Any]:
        """Metadata of the last asset named, made with the others in one run."""
        assets = [
            *build_event_assets(self.use_case),
            *build_feature_assets(self.use_case),
            *build_training_assets(self.use_case),
        ]
        result = dg.materialize(
            assets,
            selection=[dg.AssetKey(["tiny", name]) for name in names],
            instance=self.instance,
            resources={"platform": self.platform},
            run_config={"ops": {f"tiny__{name}": {"config": value} for name, value in config.items()}},
            tags=tags,
        )
        found = [event for event in result.get_asset_materialization_events() if event.asset_key]
        last = [event for event in found if event.asset_key == dg.AssetKey(["tiny", names[-1]])][-1]
        return {name: value.value for name, value in last.materialization.metadata.items()}
