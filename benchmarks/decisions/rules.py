"""Rules of promotion, on the same streams: the gate, and what is commonly done instead.

Upstream: worlds, domain.gates. Downstream: the parts that compare them.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from benchmarks.decisions.worlds import DAYS, PER_DAY, Flags, Numbers, Play
from shadow_platform.domain.gates.betting import LARGEST_DIFFERENCE, betting_sequence
from shadow_platform.domain.gates.clusters import Array, Clusters
from shadow_platform.domain.gates.sequence import ConfidenceSequence, confidence_sequence

ALPHA = 0.05
MIN_LABELS, MIN_DAYS = 200, 7
BATCH = 50

Daily = tuple[Array, Array, Array]
"""Number of labels, mean and standard deviation of each stream (rows) after each day (columns)."""


def batches(streams: int) -> Iterator[int]:
    """Numbers of streams that add up to ``streams``."""
    for start in range(0, streams, BATCH):
        yield min(BATCH, streams - start)


def daily(play: Play) -> Daily:
    """What a naive gate has seen by the end of every day."""
    shape = (len(play.naive), DAYS)
    n, total, squares = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for day in range(DAYS):
        is_new = play.known_on == day
        fresh = np.where(is_new, play.naive, 0.0)
        n[:, day], total[:, day], squares[:, day] = is_new.sum(axis=1), fresh.sum(axis=1), (fresh**2).sum(axis=1)
    n, total, squares = (np.cumsum(part, axis=1) for part in (n, total, squares))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / n
        return n, mean, np.sqrt(np.maximum(squares - n * mean**2, 0) / (n - 1))


def point_estimate(seen: Daily) -> Flags:
    """The challenger looks better."""
    return np.asarray(seen[1] > 0)


def t_test(seen: Daily, alpha: float = ALPHA) -> Flags:
    """A one-sided paired t-test says so."""
    n, mean, deviation = seen
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(mean / deviation * np.sqrt(n) > stats.t.isf(alpha, np.maximum(n - 1, 1)))


def bonferroni(seen: Daily) -> Flags:
    """The same with its level divided by the number of looks, which has to be known beforehand."""
    return t_test(seen, ALPHA / DAYS)


NAIVE: dict[str, Callable[[Daily], Flags]] = {
    "point estimate": point_estimate,
    "t-test": t_test,
    "t-test, Bonferroni": bonferroni,
}


def naive_promotes(play: Play) -> dict[str, Flags]:
    """Whether each stream is ever promoted at a day's end, by rule."""
    seen = daily(play)
    is_enough = seen[0] >= MIN_LABELS
    return {name: np.asarray((rule(seen) & is_enough).any(axis=1)) for name, rule in NAIVE.items()}


def by_day(pairs: int, per_day: int = PER_DAY) -> Numbers:
    """Day of each pair in prediction order."""
    return np.asarray(np.arange(pairs) // per_day, dtype=np.int64)


def of_days(row: Array, day: Numbers, _: Numbers | None, alpha: float) -> ConfidenceSequence:
    """The gate with ``cluster="day"``."""
    return confidence_sequence(row, Clusters(day), alpha)


def of_days_and_subjects(row: Array, day: Numbers, subject: Numbers | None, alpha: float) -> ConfidenceSequence:
    """The gate with ``cluster="day_and_subject"``."""
    return confidence_sequence(row, Clusters(day, subject), alpha)


def of_bets(row: Array, _: Numbers, __: Numbers | None, alpha: float) -> ConfidenceSequence:
    """The gate with ``method="betting"``, every request on its own."""
    return betting_sequence(row, np.full(len(row), LARGEST_DIFFERENCE), Clusters(np.arange(len(row))), alpha)


Gate = Callable[[Array, Numbers, Numbers | None, float], ConfidenceSequence]
GATES: dict[str, Gate] = {
    "gate, day": of_days,
    "gate, day and subject": of_days_and_subjects,
    "gate, betting": of_bets,
}


def cohort_at(play: Play, stream: int, day: int) -> Numbers:
    """Pairs of a stream that the gate judges at a day's end, matured, labelled or hidden, in prediction order."""
    made = by_day(play.gains.shape[1])
    is_settled = play.known_on[stream] <= day
    if play.is_hidden is not None:
        is_settled |= play.is_hidden[stream]
    return np.flatnonzero((made <= day - play.horizon) & is_settled)


def is_ever_promoted(gate: Gate, play: Play, stream: int, alpha: float = ALPHA) -> bool:
    """Whether a gate shows a gain at some day's end, each time from the cohort that it judges then."""
    looks = [cohort for day in range(DAYS) if len(cohort := cohort_at(play, stream, day))]
    made, subject = by_day(play.gains.shape[1]), None if play.subject is None else play.subject[stream]

    def sequence(cohort: Numbers) -> ConfidenceSequence:
        return gate(play.gains[stream, cohort], made[cohort], None if subject is None else subject[cohort], alpha)

    looks = [cohort for cohort in looks if len(np.unique(made[cohort])) >= MIN_DAYS]
    if not looks:
        return False
    last, sizes = looks[-1], np.array([len(cohort) for cohort in looks])
    if all(np.array_equal(cohort, last[: len(cohort)]) for cohort in looks):
        whole = sequence(last)
        return bool((whole.lower[np.searchsorted(whole.n, sizes)] > 0).any())
    return any(sequence(cohort).lower[-1] > 0 for cohort in looks)


def at_day_ends(sequence: ConfidenceSequence, bounds: Array, days: int) -> Array:
    """Bounds as they stood at each day's end, of a sequence with a cluster a day or a cluster a pair."""
    step = len(sequence.n) // days
    return bounds[step - 1 :: step]


def first_day_above(sequence: ConfidenceSequence, days: int) -> float:
    """First day at whose end a gain is shown, from ``MIN_DAYS`` on, counted from 1; infinity if none."""
    return _first(at_day_ends(sequence, sequence.lower, days) > 0)


def first_day_below(sequence: ConfidenceSequence, days: int) -> float:
    """First day at whose end harm is shown, from ``MIN_DAYS`` on, counted from 1; infinity if none."""
    return _first(at_day_ends(sequence, sequence.upper, days) < 0)


def _first(is_shown: Flags) -> float:
    found = np.flatnonzero(is_shown[MIN_DAYS - 1 :])
    return float(found[0] + MIN_DAYS) if len(found) else np.inf
