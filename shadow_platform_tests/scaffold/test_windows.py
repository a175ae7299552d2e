"""Whatever the recording's length, its days are divided so that the training policy and the demo accept them."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.scaffold.windows import MIN_FIT_DAYS, MIN_SERVED_DAYS, PlayedDays, divide

FIRST = date(2024, 1, 1)
WARM_UP_DAYS = 14


@given(n_days=st.integers(1, 1_000), horizon_days=st.integers(1, 90), warm_up_days=st.integers(0, 60))
def test_days_are_divided_without_overlap_or_refused(n_days: int, horizon_days: int, warm_up_days: int) -> None:
    end = FIRST + timedelta(days=n_days)
    days = days_or_needed(n_days, horizon_days, warm_up_days)
    if isinstance(days, int):
        assert n_days < days
        return
    assert FIRST + timedelta(days=warm_up_days + days.training_days) == days.serve_from
    assert (days.serve_until - days.serve_from).days >= MIN_SERVED_DAYS
    assert days.decide_at - days.serve_until == timedelta(days=horizon_days)
    assert days.decide_at == end
    assert days.training_days - 3 * horizon_days - 2 * days.part_days >= MIN_FIT_DAYS


@given(horizon_days=st.integers(1, 90))
def test_a_recording_that_is_too_short_is_told_the_least_that_is_enough(horizon_days: int) -> None:
    needed = days_or_needed(5, horizon_days, WARM_UP_DAYS)
    assert isinstance(needed, int)
    assert isinstance(days_or_needed(needed, horizon_days, WARM_UP_DAYS), PlayedDays)
    assert days_or_needed(needed - 1, horizon_days, WARM_UP_DAYS) == needed


def days_or_needed(n_days: int, horizon_days: int, warm_up_days: int) -> PlayedDays | int:
    """The days divided, or how many the refusal says are needed."""
    try:
        return divide(FIRST, FIRST + timedelta(days=n_days), horizon_days, warm_up_days)
    except UseCaseError as refused:
        return int(str(refused).split(" need ")[1].split(";")[0])
