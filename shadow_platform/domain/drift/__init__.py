"""Drift stage: whether a window of requests differs from its reference by more than chance.

One room of several files. Counting: ``columns`` reads values, ``grid`` fixes the cells, ``profiles`` counts in them,
``storage`` keeps the counts. Judging: ``clusters`` says what rows of one day are worth, ``statistics``, ``correlation``
and ``classifier`` test, ``measure`` compares a column, ``schema`` finds what is broken, ``rules`` are those of
docs/methods.md, ``wording`` and ``explanation`` say it, ``verdict`` puts it together. Beside them: ``references`` says
which hours are compared, ``attribution`` and ``segments`` where a shift of the scores comes from, ``simulation`` makes
drift to try it on. Pure: no I/O, no clock. Upstream: contracts. Downstream: assets.drift, the command line, benchmarks.
"""

from shadow_platform.domain.drift.simulation import simulate_drift
from shadow_platform.domain.drift.verdict import evaluate_drift, evaluate_profiles

__all__ = ["evaluate_drift", "evaluate_profiles", "simulate_drift"]
