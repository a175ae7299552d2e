"""Gates stage: the decision on every challenger, stored with all it rests on.

Upstream: predictions, shadow_comparisons, labels, bundles, deployment. Downstream: promotion, warehouse.
"""

import hashlib
import inspect
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.tables import GATE_DECISIONS, LABELS, PREDICTIONS, SHADOW_COMPARISONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import GateDecision
from shadow_platform.domain import censoring, gates
from shadow_platform.domain.labels import matured_cohort, pair
from shadow_platform.partitions import labels_known_until, moment
from shadow_platform.resources import PlatformResource

REPRODUCIBLE_CHECK = "deciding_again_gives_the_same_bytes"
A_A_ROWS = 2_000


class GateConfig(dg.Config):
    """When to decide, and on whom.

    Attributes:
        as_of: ISO 8601 time; labels known later are not used. Default: now.
        challenger_version: registry version in the shadow. Default: every one.
    """

    as_of: str | None = None
    challenger_version: str | None = None


def build_gate_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the gates stage."""
    key = dg.AssetKey([use_case.name, "gate_decision"])

    @dg.asset(
        key=key,
        deps=[[use_case.name, name] for name in ("predictions", "shadow_comparisons", "labels", "deployment")],
        group_name="gates",
        kinds={"scipy", "parquet"},
        owners=[use_case.owner],
        code_version="1",
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

        Grain: one row an evaluation. Key: decision_id, the fingerprint of its inputs. Not partitioned.
        """
        with platform.lake().label_imports(use_case).judged_or_imported():
            as_of = labels_known_until(platform.lake().table_days(LABELS, use_case), moment(config.as_of))
            manifest = platform.manifest(use_case)
            challengers = _challengers(manifest, config.challenger_version)
            decisions: list[GateDecision] = []
            metadata: dict[str, dg.MetadataValue[str]] = {}
            for challenger in challengers:
                inputs = _inputs(platform, use_case, manifest, challenger, as_of)
                decision = gates.decide(inputs)
                context.log.info("challenger %s: %s, %s", challenger.version, decision.decision, decision.reason)
                decisions.append(decision)
                metadata[f"decision_{challenger.version}"] = dg.MetadataValue.text(decision.decision.value)
                metadata[f"criteria_{challenger.version}"] = dg.MetadataValue.md(_table(decision))
                metadata[f"evidence_{challenger.version}"] = dg.MetadataValue.md(
                    _plot(platform, use_case, inputs, challenger.version)
                )
            platform.lake().append_rows(GATE_DECISIONS, use_case, [_row(decision) for decision in decisions])
            again = [
                gates.decide(_inputs(platform, use_case, manifest, challenger, as_of)) for challenger in challengers
            ]
        is_same = [d.model_dump_json() for d in again] == [d.model_dump_json() for d in decisions]
        return dg.MaterializeResult(
            metadata={"as_of": as_of.isoformat(), "decisions": len(decisions), **metadata},
            check_results=[dg.AssetCheckResult(check_name=REPRODUCIBLE_CHECK, passed=is_same)],
        )

    return [gate_decision]


def _challengers(manifest: DeploymentManifest | None, version: str | None) -> list[DeployedModel]:
    shadowing = list(manifest.challengers) if manifest else []
    if version is None:
        return [model for model in shadowing if manifest and model.version != manifest.champion.version]
    found = [model for model in shadowing if model.version == version]
    if not found:
        known = ", ".join(model.version for model in shadowing) or "none"
        raise dg.Failure(
            f"challenger version {version!r} is not in the shadow; there: {known}; "
            "deploy it as challenger first, or leave challenger_version out",
            allow_retries=False,
        )
    return found


def _inputs(
    platform: PlatformResource,
    use_case: UseCase,
    manifest: DeploymentManifest | None,
    challenger: DeployedModel,
    as_of: datetime,
) -> gates.GateInputs:
    """Evidence on requests that neither model was fitted or calibrated on."""
    assert manifest is not None
    champion = manifest.champion
    old, new = platform.bundle(use_case, champion.version), platform.bundle(use_case, challenger.version)
    unseen_from = max(old.manifest.evaluation_start, new.manifest.evaluation_start)
    cohort = _cohort(platform, use_case, champion.version, challenger.version, unseen_from, as_of)
    sample = cohort.tail(A_A_ROWS)
    difference = None
    if len(sample):
        matrix, _ = old.encode(_served(platform, use_case, sample))
        difference = float(np.max(np.abs(old.predict(matrix) - sample["probability"].to_numpy(np.float64))))
    return gates.GateInputs(
        use_case=use_case.name,
        champion_version=champion.version,
        challenger_version=challenger.version,
        as_of=as_of,
        policy=use_case.gate,
        cohort=cohort,
        parity=new.manifest.parity.outcome,
        parity_n=new.manifest.parity.n,
        a_a_difference=difference,
        a_a_n=len(sample),
        fingerprints={
            "champion_bundle": champion.bundle_hash,
            "challenger_bundle": challenger.bundle_hash,
            "code": _code_fingerprint(),
            "unseen_from": unseen_from.astimezone(UTC).isoformat(),
        },
    )


def _cohort(
    platform: PlatformResource,
    use_case: UseCase,
    champion: str,
    challenger: str,
    unseen_from: datetime,
    as_of: datetime,
) -> pd.DataFrame:
    lake, first_day = platform.lake(), unseen_from.astimezone(UTC).date()
    names = [name for name in (*use_case.gate.segments, use_case.gate.cluster) if name in use_case.feature_names]
    predictions = lake.read_answers(use_case, names, first_day)
    is_evidence = (
        predictions["variant"].eq("champion")
        & ~predictions["is_fallback"].fillna(False).astype(bool)
        & predictions["model_version"].eq(champion)
        & (predictions["requested_at"] >= unseen_from)
    )
    labels = lake.read_table(LABELS, use_case, first_day)
    comparisons = lake.read_table(SHADOW_COMPARISONS, use_case, first_day)
    matured = matured_cohort(predictions[is_evidence], labels, as_of, use_case.label.horizon)
    cohort = censoring.censor(matured, use_case.label.hidden_by)
    return pair(cohort, comparisons, challenger)


def _served(platform: PlatformResource, use_case: UseCase, sample: pd.DataFrame) -> list[dict[str, Any]]:
    """Features of each request of a sample, as served."""
    first, last = (at.date() for at in (sample["requested_at"].min(), sample["requested_at"].max()))
    rows = platform.lake().read_table(
        PREDICTIONS, use_case, first, last + timedelta(days=1), ["request_id", "features"]
    )
    texts = dict(zip(rows["request_id"], rows["features"], strict=True))
    return [json.loads(texts[request_id]) for request_id in sample["request_id"]]


def _code_fingerprint() -> str:
    """SHA-256 of the source that decides."""
    from shadow_platform.domain.gates import criterion, decision, operation, quality, sequence

    modules = (censoring, criterion, decision, operation, quality, sequence)
    source = "".join(inspect.getsource(module) for module in modules)
    return hashlib.sha256(source.encode()).hexdigest()


def _row(decision: GateDecision) -> dict[str, object]:
    return {
        "use_case": decision.use_case,
        "decision_id": decision.decision_id,
        "champion_version": decision.champion_version,
        "challenger_version": decision.challenger_version,
        "as_of": decision.as_of,
        "decision": decision.decision.value,
        "reason": decision.reason,
        "criteria": json.dumps([json.loads(criterion.model_dump_json()) for criterion in decision.criteria]),
        "fingerprints": json.dumps(decision.fingerprints),
        "decided_at": datetime.now(UTC),
    }


def _table(decision: GateDecision) -> str:
    lines = [
        f"**{decision.decision}**: {decision.reason}\n\n",
        "| criterion | outcome | n | why |\n|---|---|---|---|\n",
    ]
    lines += [f"| {c.name} | {c.outcome} | {c.n} | {c.reason} |\n" for c in decision.criteria]
    return "".join(lines)


def _plot(platform: PlatformResource, use_case: UseCase, inputs: gates.GateInputs, version: str) -> str:
    """Confidence sequence over request time, one point a cluster."""
    pairs = gates.judged_pairs(inputs.cohort)
    sequence = gates.evidence(inputs.cohort, inputs.policy)
    path = pd.DataFrame(
        {
            "at": pairs["requested_at"].to_numpy()[sequence.n - 1] if len(sequence.n) else [],
            "mean": sequence.mean,
            "lower": sequence.lower,
            "upper": sequence.upper,
            "n": sequence.n,
        }
    )
    finite = path[np.isfinite(path["lower"])]
    title = f"{use_case.title}: evidence for challenger {version}"
    return platform.pictures().evidence(finite, inputs.policy.margin, title)
