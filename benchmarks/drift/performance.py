"""The performance verdict: false alarms, and power where P(y|x) changes and no feature does.

Belongs here: simulated answers and matured labels. Does not belong here: features, which are the same in both samples,
so that the drift verdict has nothing to see. Upstream: domain.estimation.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from scipy import special

from benchmarks.drift.tables import Rate, Table
from shadow_platform.contracts.use_case import PerformancePolicy
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.estimation import PerformanceInputs, judge_performance
from shadow_platform.domain.estimation.daily import ALL_LABELS
from shadow_platform.domain.estimation.metrics import log_losses

START = datetime(2024, 1, 1, tzinfo=UTC)
REFERENCE_DAYS, WINDOW_DAYS = 14, 28
WINDOWS = 300
THRESHOLD, BASE, SLOPE = 0.3, -1.5, 1.2
SIZES = (50, 200, 1_000)


@dataclass(frozen=True, slots=True)
class Concept:
    """What makes a request positive: ``logit = base + slope x``, and what a day adds to it, in standard deviations.

    Attributes:
        flipped: share of the requests for which the feature means the opposite.
    """

    base: float = BASE
    slope: float = SLOPE
    day_effect: float = 0.0
    flipped: float = 0.0


CONCEPTS = {
    "no change": Concept(),
    "no change, days alike .2": Concept(day_effect=0.2),
    "no change, days alike .5": Concept(day_effect=0.5),
    "the feature means half as much": Concept(slope=SLOPE / 2),
    "a fifth of the requests means the opposite": Concept(flipped=0.2),
    "positives 1.6 times as likely": Concept(base=BASE + 0.6),
    "positives 1.6 times as likely, days alike .2": Concept(base=BASE + 0.6, day_effect=0.2),
}


def performance(scale: float, seed: int) -> Table:
    """Share of windows that fail, by requests a day and by what changed."""
    title = f"Performance verdict, {WINDOW_DAYS} matured days against {REFERENCE_DAYS} of evaluation"
    table = Table(title, ("what P(y|x) does", *(f"{n} requests a day" for n in SIZES)))
    windows = max(1, round(WINDOWS * scale))
    for name, concept in CONCEPTS.items():
        rates = [_failing(concept, n, windows, seed) for n in SIZES]
        is_null = name.startswith("no change")
        cells = [f"{rate.per_thousand()}" if is_null else rate.percent() for rate in rates]
        figures = {str(n): [rate.hits, rate.windows] for n, rate in zip(SIZES, rates, strict=True)}
        table.add([name, *cells], {"concept": name} | figures)
    return table.end(f"{windows} windows each; no change: false alarms per 1,000 (up to the exact 95 % bound).")


def _failing(concept: Concept, a_day: int, windows: int, seed: int) -> Rate:
    hits = 0
    quiet = Concept(day_effect=concept.day_effect)
    for rng in np.random.default_rng(seed).spawn(windows):
        reference = by_day(answered(quiet, a_day, REFERENCE_DAYS, 0, rng))
        current = by_day(answered(concept, a_day, WINDOW_DAYS, REFERENCE_DAYS, rng))
        end = START + timedelta(days=REFERENCE_DAYS + WINDOW_DAYS)
        begin = end - timedelta(days=WINDOW_DAYS)
        inputs = PerformanceInputs("benchmark", "1", PerformancePolicy(), reference, current, begin, end, end)
        hits += judge_performance(inputs).outcome is Outcome.FAIL
    return Rate(hits, windows)


def answered(concept: Concept, a_day: int, n_days: int, first: int, rng: np.random.Generator) -> pd.DataFrame:
    """Matured requests of so many days, answered by the model that was right before anything changed."""
    day = np.repeat(np.arange(n_days), a_day)
    x = rng.standard_normal(len(day))
    meaning = np.where(rng.random(len(day)) < concept.flipped, -1.0, 1.0)
    logit = concept.base + concept.slope * meaning * x + concept.day_effect * rng.standard_normal(n_days)[day]
    score = special.expit(BASE + SLOPE * x)
    return pd.DataFrame(
        {
            "use_case": "benchmark",
            "requested_at": pd.Timestamp(START) + pd.to_timedelta(first + day, unit="D"),
            "model_version": "1",
            "probability": score,
            "prediction": score >= THRESHOLD,
            "label": pd.array(rng.random(len(day)) < special.expit(logit), dtype="boolean"),
            "is_hidden": False,
            "label_propensity": 1.0,
        }
    )


def by_day(cohort: pd.DataFrame) -> pd.DataFrame:
    """What the verdict reads of ``performance_daily``; the other metrics of a day would take most of the time."""
    score = cohort["probability"].to_numpy(np.float64)
    losses = pd.DataFrame(
        {
            "day_at": cohort["requested_at"].dt.floor("D"),
            "log_loss": log_losses(score, cohort["label"].to_numpy(np.float64)),
            "estimated_log_loss": log_losses(score, score),
        }
    ).groupby("day_at", as_index=False)
    counts = losses.size()["size"].to_numpy()
    return losses.mean().assign(role="champion", n=counts, n_labelled=counts, n_censored=0, estimator=ALL_LABELS)
