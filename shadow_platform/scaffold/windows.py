"""Which days of a recording are trained on, served and judged, so that ``shadow demo`` can play it.

Belongs here: dividing the days. Does not belong here: reading them. Upstream: first day, last day, label horizon.
Downstream: package.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from shadow_platform.contracts.errors import UseCaseError

SERVED_SHARE, PART_SHARE = 0.3, 0.15
MIN_SERVED_DAYS, MIN_PART_DAYS, MIN_FIT_DAYS = 8, 3, 7
MAX_DRIFT_WINDOW_DAYS = 28


@dataclass(frozen=True, slots=True)
class PlayedDays:
    """Days in their order: warm-up, training until ``serve_from``, traffic until ``serve_until``, one label horizon.

    Attributes:
        training_days: fit, gap, calibration, gap, evaluation and the horizon, together.
        part_days: calibration, and evaluation.
    """

    serve_from: date
    serve_until: date
    decide_at: date
    training_days: int
    part_days: int

    @property
    def drift_window_days(self) -> int:
        """Days of traffic that are held against the training's."""
        return min(MAX_DRIFT_WINDOW_DAYS, (self.serve_until - self.serve_from).days)


def divide(first: date, end: date, horizon_days: int, warm_up_days: int) -> PlayedDays:
    """The days of ``[first, end)``, of which the last horizon only brings labels; raises ``UseCaseError``.

    Args:
        warm_up_days: so long the history of an entity is shorter than it will be later; a model that learned from such
            days would see drift in every other.

    >>> divide(date(2024, 1, 1), date(2024, 5, 30), 14, 14)  # doctest: +NORMALIZE_WHITESPACE
    PlayedDays(serve_from=datetime.date(2024, 4, 9), serve_until=datetime.date(2024, 5, 16),
               decide_at=datetime.date(2024, 5, 30), training_days=85, part_days=6)
    """
    n_days = (end - first).days
    divided = _divided(n_days - warm_up_days, horizon_days)
    if divided is None:
        needed = next(n for n in range(n_days, 10_000) if _divided(n - warm_up_days, horizon_days))
        raise UseCaseError(
            f"the events cover {n_days} days from {first} on; with labels that take up to {horizon_days} "
            f"days, training, serving and judging need {needed}; record more days, or give a shorter --horizon-days"
        )
    training_days, served_days, part_days = divided
    serve_from = first + timedelta(days=warm_up_days + training_days)
    return PlayedDays(serve_from, serve_from + timedelta(days=served_days), end, training_days, part_days)


def _divided(n_days: int, horizon_days: int) -> tuple[int, int, int] | None:
    """Days of training and of serving, and of each of the training's two later parts; ``None`` if they do not fit."""
    asked = n_days - horizon_days
    served = max(MIN_SERVED_DAYS, round(SERVED_SHARE * asked))
    training = asked - served
    part = max(MIN_PART_DAYS, round(PART_SHARE * (training - 3 * horizon_days)))
    fit = training - 3 * horizon_days - 2 * part
    return (training, served, part) if fit >= MIN_FIT_DAYS else None
