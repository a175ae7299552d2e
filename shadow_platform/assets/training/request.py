"""What is asked of a retraining, and whether there is reason for it: the first asset of the job retrain.

Belongs here: the parameters of a person's run, and the answer "nothing to do". Does not belong here: what holds
triggers back (``automation``). Upstream: drift verdicts. Downstream: the training frame, the tags of the version.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

import dagster as dg

from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.contracts.retraining import ENVIRONMENT_TAG, HOLDS_TAG, NOTHING_TO_DO_TAG, PROMOTE_TAG
from shadow_platform.contracts.tables import DRIFT_VERDICTS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.resources import PlatformResource
from shadow_platform.resources.policies import drift_policy

# Dagster shows the names of the members.
Environment = StrEnum("Environment", ["development", "staging", "production"])


class RequestConfig(dg.Config):
    """A retraining by hand; triggers have decided already and force it.

    Attributes:
        force_retrain: train whatever the newest drift verdict says.
        promote_challenger: false: the gate judges the new version, and promotion only reports what it would do.
        drift_threshold: without force, train only if the share of drifted features exceeds it, or the verdict failed;
            default: the limit of the drift verdict, which is ``DRIFT_THRESHOLD`` where that is set.
        environment: whose approval rule the rollout of the new version must satisfy, beside that of ENVIRONMENT.
    """

    force_retrain: bool = False
    promote_challenger: bool = True
    drift_threshold: float | None = None
    environment: Environment = Environment.staging


def build_retraining_request(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset ``retraining_request`` of a use case."""

    @dg.asset(
        key=[use_case.name, "retraining_request"],
        group_name="training",
        kinds={"python"},
        owners=[use_case.owner],
        code_version="1",
        output_required=False,
    )
    def retraining_request(
        context: dg.AssetExecutionContext, config: RequestConfig, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult]:
        """What was asked of a retraining; without reason to train it is not made, and nothing after it runs.

        Grain: one request. Not partitioned: the run bears what was asked as tags, and so does the version it makes.
        """
        told = "forced"
        if not config.force_retrain:
            asked, declared = config.drift_threshold, drift_policy(platform.settings, use_case).drift_threshold
            drift = _NewestDrift(platform, use_case, declared if asked is None else asked)
            told = drift.told
            if not drift.asks:
                reason = f"nothing to do: {told}; force_retrain trains all the same"
                context.log.warning(reason)
                context.instance.add_run_tags(context.run.run_id, {NOTHING_TO_DO_TAG: reason})
                return
        tags = {PROMOTE_TAG: str(config.promote_challenger).lower(), ENVIRONMENT_TAG: config.environment.value}
        # A run that is executed again has the tags of the run before: what that one found does not hold for this one.
        outdated = {name: "" for name in (NOTHING_TO_DO_TAG, HOLDS_TAG) if name in context.run.tags}
        context.instance.add_run_tags(context.run.run_id, tags | outdated)
        yield dg.MaterializeResult(metadata={"reason": told, **tags})

    return retraining_request


def asked_of(context: dg.AssetExecutionContext) -> Mapping[str, str]:
    """Tags that a version bears because of what was asked of its run; none where nothing was asked."""
    run = context.instance.get_run_by_id(context.run.run_id)
    return {name: run.tags[name] for name in (PROMOTE_TAG, ENVIRONMENT_TAG) if run and name in run.tags}


def note_what_holds(context: dg.AssetExecutionContext, version: RegisteredVersion) -> None:
    """Say on the run where its version existed before, and is held stricter than this run asked."""
    asked = asked_of(context)
    holds = []
    if asked.get(PROMOTE_TAG) == "true" and version.tags.get(PROMOTE_TAG) == "false":
        holds.append(f"is not promoted by itself (`shadow promote {version.version}` does)")
    environment = version.tags.get(ENVIRONMENT_TAG)
    if ENVIRONMENT_TAG in asked and environment != asked[ENVIRONMENT_TAG]:
        holds.append(f"must satisfy the approval rule of {environment}")
    if holds:
        told = f"version {version.version} existed before and, as was asked then, {' and '.join(holds)}"
        context.instance.add_run_tags(context.run.run_id, {HOLDS_TAG: told})


class _NewestDrift:
    """What the newest drift verdict with enough evidence says of a retraining.

    Attributes:
        asks: whether there is reason to train.
        told: the verdict and the threshold, in words.
    """

    def __init__(self, platform: PlatformResource, use_case: UseCase, threshold: float) -> None:
        every = platform.lake().read_table(DRIFT_VERDICTS, use_case).sort_values(["window_end", "evaluated_at"])
        rows = every[every["outcome"] != Outcome.INSUFFICIENT.value]
        if rows.empty:
            what = "there is no drift verdict yet" if every.empty else "no drift verdict had enough evidence yet"
            self.asks, self.told = False, what
            return
        newest = rows.iloc[-1]
        score, has_failed = newest["drift_score"], newest["outcome"] == Outcome.FAIL.value
        self.asks = bool(has_failed or score > threshold)
        self.told = (
            f"the newest drift verdict, of the window until {newest['window_end']:%Y-%m-%d %H:%M} UTC, is "
            f"{newest['outcome']} with {score:.0%} of the features drifted, threshold {threshold:.0%}"
        )
