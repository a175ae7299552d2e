"""The decision on every challenger in the shadow, and on the champion before while it watches.

Upstream: predictions, shadow_comparisons, labels, a_a_runs, deployment; the settings that limit a gate. Downstream:
promotion, reviews, warehouse.
"""

from dataclasses import dataclass, field, replace
from logging import Logger
from typing import Any

import dagster as dg

from shadow_platform.assets.gates.evidence import Look, capped, inputs_of, look_again
from shadow_platform.assets.gates.recording import record
from shadow_platform.assets.gates.sequences import models_to_judge, opened
from shadow_platform.contracts.deployment import DeployedModel
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.tables import LABELS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import Purpose
from shadow_platform.domain import gates
from shadow_platform.partitions import labels_known_until, moment
from shadow_platform.resources import PlatformResource
from shadow_platform.resources.policies import GATE_SETTINGS, gate_policy, gate_settings

REPRODUCIBLE_CHECK = "deciding_again_gives_the_same_bytes"
UPSTREAM = ("predictions", "shadow_comparisons", "labels", "a_a_run", "deployment")
Metadata = dict[str, dg.MetadataValue[Any] | str | int]


class GateConfig(dg.Config):
    """When to decide, and on whom.

    Attributes:
        as_of: ISO 8601 time; labels known later are not used. Default, and latest: now.
        challenger_version: registry version in the shadow. Default: every one.
        write_pages: false leaves the pages out, which take most of the time; a decision is the same without.
    """

    as_of: str | None = None
    challenger_version: str | None = None
    write_pages: bool = True


def build_gate_decision(use_case: UseCase) -> dg.AssetsDefinition:
    """Asset of the decision."""
    key = dg.AssetKey([use_case.name, "gate_decision"])

    @dg.asset(
        key=key,
        deps=[[use_case.name, name] for name in UPSTREAM],
        group_name="gates",
        kinds={"scipy", "parquet"},
        owners=[use_case.owner],
        code_version="4",
        check_specs=[
            dg.AssetCheckSpec(
                REPRODUCIBLE_CHECK,
                asset=key,
                description="Reading the tables and deciding again gives the stored decision, byte for byte.",
            )
        ],
    )
    def gate_decision(
        context: dg.AssetExecutionContext, config: GateConfig, platform: PlatformResource
    ) -> dg.MaterializeResult:
        """Promote, wait or reject, with every criterion, for each challenger in the shadow.

        Grain: one row an evaluation. Key: decision_id, the fingerprint of its inputs. Not partitioned. Each has a page
        below ``SHADOW_HOME``. Two gates at once take turns, and so do a gate and an import of labels. Watches come
        first; a model that cannot be judged fails the run once every other decision is stored.
        """
        with platform.lake().label_imports(use_case).judged_or_imported():
            look = look_now(platform, use_case, config.as_of)
            limited = replace(use_case, gate=gate_policy(platform.settings, use_case))
            found = _Round(platform, limited, look, context.log, config.write_pages)
            manifest = platform.manifest(use_case)
            for purpose, model in models_to_judge(platform, use_case, manifest, config.challenger_version):
                assert manifest is not None
                found.judge(manifest.champion, model, purpose)
        metadata: Metadata = {"as_of": look.as_of.isoformat(), "decisions": found.n_decided, **found.metadata}
        metadata["limits_of_environment"] = _limits_of_environment(platform, use_case)
        if found.problems:
            raise dg.Failure("; ".join(found.problems), metadata)
        return dg.MaterializeResult(
            metadata=metadata,
            check_results=[dg.AssetCheckResult(check_name=REPRODUCIBLE_CHECK, passed=not found.n_differing)],
        )

    return gate_decision


@dataclass
class _Round:
    """The decisions of one run; a model that cannot be judged, say for a broken bundle, keeps nobody else's back."""

    platform: PlatformResource
    use_case: UseCase
    look: Look
    log: Logger
    has_pages: bool
    n_decided: int = 0
    n_differing: int = 0
    problems: list[str] = field(default_factory=list)
    metadata: dict[str, dg.MetadataValue[Any]] = field(default_factory=dict)

    def judge(self, champion: DeployedModel, model: DeployedModel, purpose: Purpose) -> None:
        """Decide on a model, store the decision, and see whether it comes out of the tables again."""
        platform, use_case = self.platform, self.use_case
        try:
            sequence = opened(platform, use_case, champion, model, purpose)
            look = capped(platform, use_case, sequence, self.look)
            inputs = inputs_of(platform, use_case, sequence, look)
            decision = gates.decide(inputs)
            self.log.info("%s of version %s: %s, %s", purpose, model.version, decision.decision, decision.reason)
            self.metadata |= record(platform, use_case, inputs, decision, look.read_at, self.has_pages, self.log)
            self.n_decided += 1
            again = gates.decide(inputs_of(platform, use_case, sequence, look_again(decision, look.read_at)))
        except ShadowPlatformError as error:
            self._cannot_judge(model, purpose, str(error))
        except Exception as error:  # noqa: BLE001 - the run fails with it, once all others are decided
            self._cannot_judge(model, purpose, f"{type(error).__name__}: {error}", error)
        else:
            self.n_differing += again.model_dump_json() != decision.model_dump_json()

    def _cannot_judge(
        self, model: DeployedModel, purpose: Purpose, why: str, unexpected: Exception | None = None
    ) -> None:
        self.problems.append(f"{purpose} of version {model.version} cannot be judged: {why}")
        self.log.error(self.problems[-1], exc_info=unexpected)


def _limits_of_environment(platform: PlatformResource, use_case: UseCase) -> str:
    """Limits that settings put in the place of the use case's, in words."""
    settings = platform.settings
    names = gate_settings(settings, use_case)
    return ", ".join(f"{GATE_SETTINGS[name]}={getattr(settings, name)} by {name.upper()}" for name in names) or "none"


def look_now(platform: PlatformResource, use_case: UseCase, as_of: str | None = None) -> Look:
    """A look at what is known now, or was known at a time; never later than labels were made without a gap."""
    now = platform.now()
    wanted = min(moment(as_of, now), now)
    reached = labels_known_until(platform.lake().table_days(LABELS, use_case), wanted)
    return Look(as_of=reached, read_at=now, labels_until=reached, answers_until=now, comparisons_until=now)
