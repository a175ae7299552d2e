"""Drift stage: whether a window of requests differs from the frozen reference by more than chance.

One room of several files: ``inputs`` orders and fingerprints, ``columns`` reads values, ``clusters`` says what rows of
one day are worth, ``statistics`` and ``correlation`` test, ``profiles`` measures a feature, ``schema`` finds what is
broken, ``verdict`` decides by the rules of docs/methods.md, ``explanation`` words it, ``simulation`` makes drift to try
it on. Pure: no I/O, no clock. Upstream: contracts. Downstream: assets.drift, the command line, benchmarks.
"""

from shadow_platform.domain.drift.simulation import simulate_drift
from shadow_platform.domain.drift.verdict import SCORE, evaluate_drift

__all__ = ["SCORE", "evaluate_drift", "simulate_drift"]
