"""A/A stage: the champion shadows itself through the real path before a challenger counts against it.

Belongs here: when a run is due. Does not belong here: scoring and judging (``resources.a_a``), what a decision makes of
a run (the gates stage). Upstream: deployment, prediction log. Downstream: gate_decision, warehouse.
"""

from typing import Any

import dagster as dg

from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.resources import PlatformResource

A_A_CHECK = "the_champion_in_the_shadow_gives_its_own_answers"
REQUESTS = 1_000
"""Answers asked again by default; a run needs ``GatePolicy.min_a_a`` of them."""
SHOWN = ("run_id", "version", "outcome", "reason", "n", "n_failed", "n_differing", "n_flips", "max_difference")


class AAConfig(dg.Config):
    """How to run.

    Attributes:
        force: run again, although a run of this champion stands.
        requests: newest answers that are asked again.
    """

    force: bool = False
    requests: int = REQUESTS


def build_a_a_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the A/A stage."""
    key = dg.AssetKey([use_case.name, "a_a_run"])

    @dg.asset(
        key=key,
        deps=[[use_case.name, "deployment"]],
        group_name="gates",
        kinds={"onnx", "parquet"},
        owners=[use_case.owner],
        code_version="1",
        check_specs=[
            dg.AssetCheckSpec(
                A_A_CHECK,
                asset=key,
                description="The run that stands for the champion passed: asked again in the shadow, in batches and "
                "row by row, it gives what it answered. Blocks nothing: the gate does not promote without it.",
            )
        ],
    )
    def a_a_run(
        context: dg.AssetExecutionContext, config: AAConfig, platform: PlatformResource
    ) -> dg.MaterializeResult:
        """The champion's newest answers beside those that it gives when it is asked again as a challenger is.

        Grain: one row a run. Key: run_id. Not partitioned. Made when a challenger is in the shadow and no run of the
        champion's bundle passed or failed under the policy in force; a failed one stands until a person runs again.
        """
        manifest = platform.manifest(use_case)
        champion, error = _due_for(platform, use_case, manifest, config.force), None
        metadata: dict[str, Any] = {"is_new": champion is not None}
        if champion is not None:
            try:
                row = platform.run_a_a(use_case, champion.version, champion.bundle_hash, config.requests, "gate")
                context.log.info("champion %s: %s, %s", champion.version, row["outcome"], row["reason"])
            except ShadowPlatformError as raised:
                # The decisions behind may include bringing the champion before this one back: none may wait for a run.
                error = f"the run ended without a result, the next one tries again: {raised}"
                context.log.error("champion %s: %s", champion.version, error)
                metadata = {"is_new": False, "error": error}
        standing = platform.standing_a_a(use_case, manifest.champion.bundle_hash) if manifest else None
        if standing is not None:
            metadata |= {name: standing[name] for name in SHOWN if standing["n"] or name != "max_difference"}
        return dg.MaterializeResult(metadata=metadata, check_results=[_check_result(standing, error)])

    return [a_a_run]


def _due_for(
    platform: PlatformResource, use_case: UseCase, manifest: DeploymentManifest | None, force: bool
) -> DeployedModel | None:
    """The champion, when it has to run; ``None``: a run stands, or nothing would be judged by it."""
    policy = use_case.gate
    if manifest is None:
        return None
    if force:
        return manifest.champion
    if policy.max_a_a_difference is None or not manifest.challengers:
        return None
    facts = platform.latest_a_a(use_case, manifest.champion.bundle_hash)
    is_due = facts is None or facts.shortfall(policy.max_a_a_difference, policy.min_a_a) is not None
    return manifest.champion if is_due else None


def _check_result(standing: dict[str, Any] | None, error: str | None) -> dg.AssetCheckResult:
    outcome = standing["outcome"] if standing else None
    told = standing["reason"] if standing else "the champion has not shadowed itself yet"
    return dg.AssetCheckResult(
        check_name=A_A_CHECK,
        passed=outcome == Outcome.PASS and error is None,
        severity=dg.AssetCheckSeverity.ERROR if error or outcome == Outcome.FAIL else dg.AssetCheckSeverity.WARN,
        description=error or told,
    )
