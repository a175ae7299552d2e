"""Estimation stage: how well a model does, on matured labels where there are any, and expected where there are none.

Belongs here: realised metrics of one day (``daily``) from sums over rows (``metrics``), means where decisions hid some
labels (``propensity``), and CBPE, confidence-based performance estimation. Does not belong here: which labels are
hidden (domain.censoring), comparing two models (domain.gates). Upstream: cohorts of domain.labels and
domain.censoring. Downstream: ``performance_daily``.

An estimate without labels holds only if P(y|x) is stable. It may warn; it may never promote.
"""

from shadow_platform.domain.estimation.daily import performance_by_day
from shadow_platform.domain.estimation.metrics import Array, Calibrator, Performance, estimate, fit_calibrator, realise
from shadow_platform.domain.estimation.propensity import Estimate, effective_sample_size, hajek, horvitz_thompson

__all__ = [
    "Array",
    "Calibrator",
    "Estimate",
    "Performance",
    "effective_sample_size",
    "estimate",
    "fit_calibrator",
    "hajek",
    "horvitz_thompson",
    "performance_by_day",
    "realise",
]
