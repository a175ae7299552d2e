"""Shadow stage: what Dagster asks of the shadow worker. Live scoring is a process of its own, not an asset.

Upstream: deployment (which challenger), the prediction log. Downstream: shadow_comparisons.
"""

import dagster as dg

from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource


def build_shadow_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the shadow stage."""

    @dg.asset(
        key=[use_case.name, "challenger_replay"],
        deps=[[use_case.name, "deployment"]],
        group_name="shadow",
        kinds={"onnx"},
        owners=[use_case.owner],
        code_version="1",
    )
    def challenger_replay(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult:
        """Scores of every deployed challenger for the logged requests it has not seen yet.

        Grain: one shadow record a request and challenger. Key: request_id, challenger_version. Not partitioned: a
        replay resumes where the challenger's own shadow log ends.
        """
        counts = platform.replay_challengers(use_case)
        context.log.info("replayed %s", counts)
        return dg.MaterializeResult(metadata={f"challenger_{version}": n for version, n in counts.items()})

    return [challenger_replay]
