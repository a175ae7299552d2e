"""nannyml's univariate drift with its defaults: Jensen-Shannon distance, three deviations of the reference's chunks.

Upstream: windows. Downstream: ``environments``.
"""

from collections.abc import Mapping

import nannyml
import pandas as pd

from benchmarks.drift.peers.exchange import answer, features

FREQUENT = "W"


def judge(reference: pd.DataFrame, current: pd.DataFrame) -> Mapping[str, bool]:
    """Fails when any feature alerts in any chunk, and when one alerts in most of them; ten chunks or weeks."""
    numeric, categorical = features(reference)
    answers = {}
    for name, chunks in (("ten chunks (default)", {}), ("weeks", {"chunk_period": FREQUENT})):
        calculator = nannyml.UnivariateDriftCalculator(
            column_names=[*numeric, *categorical],
            treat_as_categorical=categorical,
            timestamp_column_name="requested_at",
            **chunks,
        ).fit(reference)
        found = calculator.calculate(current).filter(period="analysis").to_df()
        alerts = found.loc[:, found.columns.get_level_values(-1) == "alert"].astype(bool)
        answers[f"any alert, {name}"] = bool(alerts.to_numpy().any())
        answers[f"a feature alerts in most, {name}"] = bool((alerts.mean() > 1 / 2).any())
    return answers


if __name__ == "__main__":
    answer(judge)
