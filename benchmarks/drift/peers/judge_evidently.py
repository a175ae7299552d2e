"""Evidently's data drift preset with its defaults: half of the columns, each by the test it chooses.

Upstream: windows. Downstream: ``environments``.
"""

from collections.abc import Mapping

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

from benchmarks.drift.peers.exchange import answer, features

DRIFT_SHARE = 0.5


def judge(reference: pd.DataFrame, current: pd.DataFrame) -> Mapping[str, bool]:
    """Fails when half of the columns drifted (the default), and when any did."""
    numeric, categorical = features(reference)
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
    columns = [*numeric, *categorical]
    sets = [Dataset.from_pandas(rows[columns], data_definition=definition) for rows in (current, reference)]
    metrics = Report([DataDriftPreset()]).run(*sets).dict()["metrics"]
    (drifted,) = (metric["value"] for metric in metrics if "DriftedColumnsCount" in metric["metric_name"])
    return {"half of the columns (default)": drifted["share"] >= DRIFT_SHARE, "any column": drifted["count"] > 0}


if __name__ == "__main__":
    answer(judge)
