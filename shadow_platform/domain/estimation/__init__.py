"""Estimation stage: how well a model does, on matured labels where there are any, and expected where there are none.

Belongs here: metrics of one set of rows (``metrics``), of one day (``daily``), means where decisions hid some labels
(``propensity``), CBPE, confidence-based performance estimation (``calibration``, ``intervals``), and whether a champion
answers worse than it was evaluated (``verdict``). Does not belong here: which labels are hidden (domain.censoring),
comparing two models (domain.gates). Upstream: cohorts of domain.labels and domain.censoring. Downstream:
``performance_daily``, ``performance_verdicts``.

An estimate without labels holds only if P(y|x) is stable. It may warn; it may never promote.
"""

from shadow_platform.domain.estimation.calibration import Calibrator, fit_calibrator
from shadow_platform.domain.estimation.daily import performance_by_day
from shadow_platform.domain.estimation.intervals import Interval, auc_interval, expected_performance
from shadow_platform.domain.estimation.metrics import METRICS, Array, Performance, estimate, realise
from shadow_platform.domain.estimation.propensity import Estimate, effective_sample_size, hajek, horvitz_thompson
from shadow_platform.domain.estimation.verdict import DayLosses, PerformanceInputs, day_losses, judge_performance, rise

__all__ = [
    "METRICS",
    "Array",
    "Calibrator",
    "DayLosses",
    "Estimate",
    "Interval",
    "Performance",
    "PerformanceInputs",
    "auc_interval",
    "day_losses",
    "effective_sample_size",
    "estimate",
    "expected_performance",
    "fit_calibrator",
    "hajek",
    "horvitz_thompson",
    "judge_performance",
    "performance_by_day",
    "realise",
    "rise",
]
