"""Windows and references are whole hours that never meet."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.use_case import DriftPolicy, ReferencePolicy
from shadow_platform.domain.drift.references import (
    HOUR,
    Span,
    gaps,
    looked_at_since,
    reference_spans,
    why_missing,
    window_by_count,
    window_by_time,
)

END = datetime(2024, 5, 1, tzinfo=UTC)
hours = st.integers(1, 24 * 60).map(lambda n: n * HOUR)
ends = st.integers(0, 24 * 400).map(lambda n: END + n * HOUR)
windows = st.builds(lambda end, length: Span(end - length, end), ends, hours)


def _overlap(one: Span, other: Span) -> bool:
    """Whether the two share an instant."""
    return one.start < other.end and other.start < one.end


@given(window=windows, length=hours, gap=st.integers(0, 500).map(lambda n: n * HOUR))
def test_a_rolling_reference_ends_its_gap_before_the_window(window: Span, length: timedelta, gap: timedelta) -> None:
    (span,) = reference_spans(ReferencePolicy("rolling", length=length, gap=gap), window)
    assert (span.length, window.start - span.end) == (length, gap)
    assert not _overlap(span, window)


@given(window=windows, cycles=st.integers(1, 8), days=st.integers(1, 40))
def test_seasonal_spans_have_the_windows_length_and_place_in_the_season(window: Span, cycles: int, days: int) -> None:
    season = timedelta(days=days)
    spans = reference_spans(ReferencePolicy("seasonal", season=season, cycles=cycles), window)
    assert [span.length for span in spans] == [window.length] * cycles
    assert all((window.start - span.start) % season == timedelta(0) for span in spans)
    together = [*spans, window]
    assert all(not _overlap(a, b) for i, a in enumerate(together) for b in together[i + 1 :])
    assert list(spans) == sorted(spans, key=lambda span: span.start)


@given(window=windows, cycles=st.integers(1, 4))
def test_weeks_as_seasons_keep_the_weekday(window: Span, cycles: int) -> None:
    spans = reference_spans(ReferencePolicy("seasonal", cycles=cycles), window)
    assert {span.start.weekday() for span in spans} == {window.start.weekday()}


def test_the_frozen_reference_has_no_span() -> None:
    assert reference_spans(ReferencePolicy(), window_by_time(DriftPolicy(), END)) == ()


@given(counts=st.dictionaries(st.integers(0, 200), st.integers(0, 50), max_size=60), n_rows=st.integers(1, 500))
def test_a_window_by_count_is_the_shortest_that_holds_so_many(counts: dict[int, int], n_rows: int) -> None:
    by_hour = {END - 100 * HOUR + place * HOUR: n for place, n in counts.items()}
    before = {hour: n for hour, n in by_hour.items() if hour < END}
    span = window_by_count(by_hour, n_rows, END)
    if span is None:
        assert sum(before.values()) < n_rows
    else:
        assert sum(n for hour, n in before.items() if hour >= span.start) >= n_rows
        assert sum(n for hour, n in before.items() if hour > span.start) < n_rows
        assert span.end == END


@pytest.mark.parametrize(
    ("first_known", "words"),
    [(None, "there are no requests"), (END - timedelta(days=30), "requests are known from 2024-04-01 00:00 UTC on")],
)
def test_a_reference_before_the_first_request_is_missing_with_both_times(
    first_known: datetime | None, words: str
) -> None:
    spans = reference_spans(ReferencePolicy("rolling"), window_by_time(DriftPolicy(), END))
    reason = why_missing(dict.fromkeys(spans, 100), first_known)
    assert reason is not None
    assert words in reason
    assert "from 2024-03-06 00:00 UTC to 2024-04-03 00:00 UTC" in reason


def test_a_reference_that_starts_within_the_first_known_hour_is_there() -> None:
    spans = reference_spans(ReferencePolicy("rolling"), window_by_time(DriftPolicy(), END))
    assert why_missing(dict.fromkeys(spans, 100), spans[0].start + timedelta(minutes=12)) is None


@pytest.mark.parametrize("empty", [0, 2, 3])
def test_a_span_without_a_request_is_missing_though_the_others_are_there(empty: int) -> None:
    spans = reference_spans(ReferencePolicy("seasonal", cycles=4), Span(END - timedelta(days=1), END))
    rows = {span: 0 if place == empty else 100 for place, span in enumerate(spans)}
    reason = why_missing(rows, spans[0].start)
    assert reason is not None
    assert f"there are none from {spans[empty].start:%Y-%m-%d} 00:00 UTC to {spans[empty].end:%Y-%m-%d}" in reason


@given(window=windows, days=st.integers(1, 60))
def test_requests_are_looked_at_since_the_references_length_before_it(window: Span, days: int) -> None:
    (span,) = reference_spans(ReferencePolicy("rolling", length=timedelta(days=days)), window)
    assert span.start - looked_at_since([span]) == span.length


@given(span=windows)
def test_the_days_of_a_span_hold_its_hours_and_no_other_day(span: Span) -> None:
    n_hours = span.length // HOUR
    assert span.days == sorted({(span.start + n * HOUR).date() for n in range(n_hours)})


def test_days_that_were_not_made_are_named_as_ranges() -> None:
    window, spans = Span(END - timedelta(days=7), END), [Span(END - timedelta(days=14), END - timedelta(days=7))]
    days = {day for span in (window, *spans) for day in span.days}
    unmade = {date(2024, 4, 24), date(2024, 4, 25), date(2024, 4, 28), date(2024, 4, 20)}
    assert gaps(window, spans, days) is None
    assert gaps(window, spans, days - unmade) == (
        "predictions has no partition of 3 of the 7 days of the window (2024-04-24 to 2024-04-25, 2024-04-28) and "
        "1 of the 7 days of the reference (2024-04-20): judged without them."
    )
