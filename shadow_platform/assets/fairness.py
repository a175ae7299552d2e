"""Fairness stage: what champion and challengers decide about groups of people, beside how well they predict.

Upstream: predictions, shadow_comparisons, labels. Downstream: warehouse, people.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import dagster as dg
import pandas as pd

from shadow_platform.contracts.tables import FAIRNESS_GROUPS, LABELS, SHADOW_COMPARISONS
from shadow_platform.contracts.use_case import FairnessPolicy, UseCase
from shadow_platform.domain.censoring import censor
from shadow_platform.domain.fairness import compare_groups
from shadow_platform.domain.labels import matured_cohort
from shadow_platform.partitions import labels_known_until, moment
from shadow_platform.resources import PlatformResource

FAIRNESS_CHECK = "no_group_is_far_below_the_best"


class FairnessConfig(dg.Config):
    """When to judge.

    Attributes:
        as_of: ISO 8601 time; labels known later are not used. Default: now.
        first_day: first request day to judge, ISO date. Default: all.
    """

    as_of: str | None = None
    first_day: str | None = None


def build_fairness_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the fairness stage; none when the use case declares no groups."""
    return [] if use_case.fairness is None else [_fairness_groups(use_case, use_case.fairness)]


def _fairness_groups(use_case: UseCase, policy: FairnessPolicy) -> dg.AssetsDefinition:
    key = dg.AssetKey([use_case.name, "fairness_groups"])

    @dg.asset(
        key=key,
        deps=[[use_case.name, name] for name in ("predictions", "shadow_comparisons", "labels")],
        group_name="fairness",
        kinds={"scipy", "parquet"},
        owners=[use_case.owner],
        code_version="1",
        check_specs=[
            dg.AssetCheckSpec(
                FAIRNESS_CHECK,
                asset=key,
                description=f"Every group of at least {policy.min_rows} decisions of a deployed version has a rate of "
                f"favourable ones of at least {policy.min_ratio:g} times the best group's. Blocks nothing: people "
                "judge why groups differ.",
            )
        ],
    )
    def fairness_groups(config: FairnessConfig, platform: PlatformResource) -> dg.MaterializeResult:
        """Favourable decisions, and what labels say of them, of every group of people and model.

        Grain: one row an evaluation, model version, role, attribute and group. Key: the same. Not partitioned.
        """
        with platform.lake().label_imports(use_case).judged_or_imported():
            wanted = moment(config.as_of, platform.now())
            as_of = labels_known_until(platform.lake().table_days(LABELS, use_case), wanted)
            answers = _answers(platform, use_case, policy, as_of, config.first_day)
            parts = [
                compare_groups(rows, policy).assign(model_version=str(version), role=str(role))
                for (role, version), rows in answers.groupby(["role", "model_version"])
            ]
            columns = list(FAIRNESS_GROUPS.column_names)
            rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
            rows = rows.assign(use_case=use_case.name, as_of=as_of)[columns]
            platform.lake().append_rows(FAIRNESS_GROUPS, use_case, rows)
        manifest = platform.manifest(use_case)
        deployed = [model.version for model in (manifest.champion, *manifest.challengers)] if manifest else []
        metadata: dict[str, Any] = {
            "dagster/row_count": len(rows),
            "labels_as_of": as_of.isoformat(),
            "basis_of_label_columns": _basis(answers),
            "groups": dg.MetadataValue.md(_table(rows)),
        }
        if len(rows):
            title = f"{use_case.title}: favourable decisions by group"
            metadata["plot"] = dg.MetadataValue.md(platform.pictures().fairness(rows, policy.min_ratio, title))
        return dg.MaterializeResult(metadata=metadata, check_results=[fairness_result(rows, policy, deployed)])

    return fairness_groups


def _answers(
    platform: PlatformResource, use_case: UseCase, policy: FairnessPolicy, as_of: datetime, first_day: str | None
) -> pd.DataFrame:
    """Every answer of every model with its ``role``, the features that make groups and what is known of its request."""
    lake = platform.lake()
    start = datetime.fromisoformat(first_day).date() if first_day else None
    features = [attribute.feature for attribute in policy.attributes]
    predictions = lake.read_answers(use_case, features, start)
    predictions = predictions[predictions["requested_at"] <= as_of]
    labels = lake.read_table(LABELS, use_case, start)
    matured = censor(
        matured_cohort(predictions, labels, as_of, use_case.label.horizon), use_case.label.hidden_by
    ).set_index("request_id")
    requests = predictions.drop(columns=["label_propensity"]).join(
        matured[["label", "is_hidden", "label_propensity"]], on="request_id"
    )
    # A request that a canary failed to answer is no random one.
    is_champion = requests["variant"].eq("champion") & ~requests["is_fallback"].fillna(False).astype(bool)
    champion = requests[is_champion].assign(role="champion")
    said = {
        "challenger_version": "model_version",
        "challenger_probability": "probability",
        "challenger_prediction": "prediction",
    }
    comparisons = lake.read_table(SHADOW_COMPARISONS, use_case, start, columns=["request_id", "outcome", *said])
    compared = comparisons[comparisons["outcome"].eq("compared")]
    challengers = requests.drop(columns=list(said.values())).merge(
        compared[["request_id", *said]].rename(columns=said), on="request_id"
    )
    return pd.concat([champion, challengers.assign(role="challenger")], ignore_index=True)


def fairness_result(rows: pd.DataFrame, policy: FairnessPolicy, deployed: Sequence[str]) -> dg.AssetCheckResult:
    """Check result of an evaluation: passed when no group is flagged, and some could be judged.

    Only deployed versions are held to it: what a retired one decided stays in the rows and can no longer be mended.
    """
    judged = rows[rows["is_flagged"].notna() & rows["model_version"].isin(deployed)]
    flagged = judged[judged["is_flagged"].astype(bool)]
    lines = [
        f"{row['role']} {row['model_version']}, {row['attribute']} {row['group_name']}: favourable decisions "
        f"{row['favourable_rate']:.1%}, {row['favourable_ratio']:.2f} of the best group's rate, at least "
        f"{policy.min_ratio:g} wanted ({row['n']} decisions)"
        for row in flagged.to_dict("records")
    ]
    if judged.empty:
        lines = [f"not enough evidence: no group with favourable decisions has {policy.min_rows} decisions"]
    return dg.AssetCheckResult(
        check_name=FAIRNESS_CHECK,
        passed=not lines,
        severity=dg.AssetCheckSeverity.WARN,
        description="\n".join(lines) or f"no group is below {policy.min_ratio:g} of the best group's rate",
        metadata={"judged": len(judged), "flagged": len(flagged)},
    )


def _basis(answers: pd.DataFrame) -> str:
    """What the columns that rest on labels can say."""
    propensity = answers.loc[answers["label_propensity"].notna(), "label_propensity"]
    lost = float(propensity.eq(0).mean()) if len(propensity) else 0.0
    if lost:
        return (
            f"labelled requests only: {lost:.1%} of the matured answers concern requests whose outcome could not be "
            "seen, so nothing is said of all requests, and equal opportunity is left out where a group has some"
        )
    if propensity.lt(1).any():
        return "labelled requests, explored ones weighted by their inverse propensities"
    return "all labelled requests"


def _table(rows: pd.DataFrame) -> str:
    header = (
        "| role | version | attribute | group | decisions | favourable | 95 % interval | of the best | labelled "
        "| equal opportunity | base rate | mean probability | flagged |\n"
    )
    lines = [
        f"| {row['role']} | {row['model_version']} | {row['attribute']} | {row['group_name']} | {row['n']} | "
        f"{row['favourable_rate']:.1%} | {row['favourable_rate_low']:.1%} to {row['favourable_rate_high']:.1%} | "
        f"{_number(row['favourable_ratio'])} | {row['n_labelled']} | {_number(row['equal_opportunity'])} | "
        f"{_number(row['base_rate'])} | {_number(row['mean_probability'])} | {_flag(row['is_flagged'])} |\n"
        for row in rows.to_dict("records")
    ]
    return "".join([header, "|---" * 13, "|\n", *lines])


def _number(value: float | None) -> str:
    return "not defined" if value is None or pd.isna(value) else f"{value:.3f}"


def _flag(value: bool | None) -> str:
    return "too few" if value is None else "yes" if value else "no"
