"""frouros' univariate detectors; it has no rule over several features, so any feature counts.

Upstream: windows. Downstream: ``environments``.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from frouros.detectors.data_drift import PSI, ChiSquareTest, KSTest  # type: ignore[import-not-found]  # there alone

from benchmarks.drift.peers.exchange import answer, features, imputed

ALPHA, PSI_LIMIT = 0.05, 0.2


def judge(reference: pd.DataFrame, current: pd.DataFrame) -> Mapping[str, bool]:
    """Fails when any feature's test is below .05, when it is so by Bonferroni, and when any PSI is above .2."""
    numeric, categorical = features(reference)
    before, after = imputed(reference, reference), imputed(current, reference)
    tests = {**dict.fromkeys(numeric, KSTest), **dict.fromkeys(categorical, ChiSquareTest)}
    p_values = [_compared(test(), before[name], after[name]).p_value for name, test in tests.items()]
    indices = [_compared(PSI(), before[name], after[name]).distance for name in numeric]
    return {
        "any test p < 0.05": min(p_values) < ALPHA,
        "any test, Bonferroni": min(p_values) < ALPHA / len(p_values),
        "any PSI > 0.2": max(indices) > PSI_LIMIT,
    }


def _compared(detector: "KSTest", before: "pd.Series[float]", after: "pd.Series[float]") -> "KSTest":
    detector.fit(X=np.asarray(before))
    result, _ = detector.compare(X=np.asarray(after))
    return result


if __name__ == "__main__":
    answer(judge)
