"""Checks of a view's days against the days before them, and the picture that shows both.

Upstream: records of partitions. Downstream: the assets of views.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pandas as pd

from shadow_platform.assets.features.making import Making
from shadow_platform.contracts.partition_records import FeaturesRecord
from shadow_platform.contracts.use_case import FeatureView, UseCase
from shadow_platform.domain.features import by_weekday, rises, vanished
from shadow_platform.domain.features.history import MIN_SHARE, WEEKS
from shadow_platform.resources import PlatformResource

PICTURED = timedelta(days=91)
VANISHED = "no_feature_loses_all_its_values"
STEADY = "nulls_are_as_frequent_as_in_the_days_before"
ATTENDED = "no_weekday_loses_half_its_entities"


def history_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """Checks that compare a day with days before it."""
    fallen = f"At least {MIN_SHARE:.0%} of the entities of the same weekday in the {WEEKS} weeks before."
    return [
        dg.AssetCheckSpec(
            VANISHED, asset=key, blocking=True, description="Its column may be gone upstream; nothing is written then."
        ),
        dg.AssetCheckSpec(STEADY, asset=key, description="What is missing is imputed, in training and in answers."),
        dg.AssetCheckSpec(ATTENDED, asset=key, description=f"{fallen} A part of the source may be silent."),
    ]


def vanished_features(
    making: Making, counted: Mapping[date, tuple[pd.DataFrame, FeaturesRecord]]
) -> dict[str, list[str]]:
    """By day, features without a value that had values in the days before, but for those accepted."""
    own = {day: record for day, (_, record) in counted.items()}
    found = {str(day): vanished(record, making.before(day, own)) for day, record in own.items()}
    return {day: names for day, names in found.items() if names}


def history_results(making: Making, days: Sequence[date]) -> list[dg.AssetCheckResult]:
    """Results of the checks that warn, once the days are made."""
    risen = {str(day): found for day in days if (found := rises(making.records[day], making.before(day, {})))}
    fallen = {str(day): list(seen) for day in days if (seen := by_weekday(day, making.records))}
    return [
        dg.AssetCheckResult(check_name=VANISHED, passed=True),
        _warning(STEADY, {"null_rates_by_day": risen}),
        _warning(ATTENDED, {"entities_and_fewest_of_the_weekday_by_day": fallen}),
    ]


def picture(platform: PlatformResource, use_case: UseCase, view: FeatureView, making: Making, last: date) -> str:
    """Markdown image of rows and missing values of the days until the last one."""
    names = [feature.name for feature in use_case.view_features(view.name)]
    shown = {day: record for day, record in sorted(making.records.items()) if last - PICTURED < day <= last}
    rows = pd.DataFrame({"rows": [r.n_rows for r in shown.values()]}, index=pd.DatetimeIndex(list(shown)))
    rates = {name: [r.nulls.get(name, 0) / r.n_rows if r.n_rows else None for r in shown.values()] for name in names}
    title = f"{use_case.title}: {view.name} until {last}"
    return platform.pictures().feature_days(rows["rows"], pd.DataFrame(rates, index=rows.index, dtype="float64"), title)


def _warning(check: str, found: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=check, passed=not any(found.values()), severity=dg.AssetCheckSeverity.WARN, metadata=found
    )
