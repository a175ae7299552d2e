"""Which hours a window and its reference are, by time or by count.

Belongs here: spans of whole UTC hours. Does not belong here: reading them, comparing them. Pure: no clock. Upstream:
the policy, hours with their requests. Downstream: assets.drift.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from shadow_platform.contracts.policies.monitoring import DriftPolicy, ReferencePolicy

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Span:
    """Time from ``start`` to ``end`` (exclusive), whole hours."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """Time between start and end."""
        return self.end - self.start

    @property
    def days(self) -> list[date]:
        """Days it touches, in order."""
        first, last = self.start.date(), (self.end - timedelta(microseconds=1)).date()
        return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def window_by_time(policy: DriftPolicy, end: datetime) -> Span:
    """The policy's time that ends with ``end``."""
    return Span(end - policy.window, end)


def window_by_count(rows_by_hour: Mapping[datetime, int], n_rows: int, end: datetime) -> Span | None:
    """The newest hours before ``end`` that hold so many rows; ``None`` when all of them hold fewer.

    Args:
        rows_by_hour: start of an hour -> its requests.

    >>> hours = {datetime(2024, 1, 1, hour): 40 for hour in range(5)}
    >>> window_by_count(hours, 100, datetime(2024, 1, 1, 4)).start.hour
    1
    """
    held = 0
    for start in sorted((hour for hour in rows_by_hour if hour < end), reverse=True):
        held += rows_by_hour[start]
        if held >= n_rows:
            return Span(start, end)
    return None


def reference_spans(policy: ReferencePolicy, window: Span) -> tuple[Span, ...]:
    """Spans of served requests that a window is compared with, oldest first; none for the frozen reference.

    A seasonal reference goes back by whole seasons, as many at a time as the window needs, so that no span meets the
    window or another one.
    """
    if policy.kind == "rolling":
        end = window.start - policy.gap
        return (Span(end - policy.length, end),)
    if policy.kind == "seasonal":
        back = -(-window.length // policy.season) * policy.season
        return tuple(
            Span(window.start - cycle * back, window.end - cycle * back) for cycle in range(policy.cycles, 0, -1)
        )
    return ()


def looked_at_since(spans: Sequence[Span]) -> datetime:
    """From when on requests tell whether there were any before the reference: its own length before it.

    A single request that somebody's clock dated long ago tells nothing.
    """
    start, end = spans[0].start, spans[-1].end
    return start - (end - start)


def why_missing(rows_of: Mapping[Span, int], first_known: datetime | None) -> str | None:
    """Why requests served before cannot be the reference, in words; ``None`` when they can.

    Args:
        rows_of: requests of every span of the reference, oldest first.
        first_known: time of the oldest request since ``looked_at_since``; ``None`` without any.
    """
    if not rows_of:
        return None
    spans = list(rows_of)
    start, end = spans[0].start, spans[-1].end
    empty = [span for span, n in rows_of.items() if not n]
    if first_known is None:
        known = "there are no requests"
    elif first_known.replace(minute=0, second=0, microsecond=0) > start:
        known = f"requests are known from {_text(first_known)} on"
    elif empty:
        known = f"there are none from {_text(empty[0].start)} to {_text(empty[0].end)}"
    else:
        return None
    return (
        f"the reference would be the requests from {_text(start)} to {_text(end)}, but {known}; wait, or choose a "
        "shorter reference or the frozen one in the policy"
    )


def gaps(window: Span, spans: Sequence[Span], made: Collection[date]) -> str | None:
    """Days of the window and of its reference that are not among those made, in words; ``None`` when all are."""
    told = []
    for what, days in (("window", window.days), ("reference", [day for span in spans for day in span.days])):
        missing = sorted(set(days) - set(made))
        if missing:
            told.append(f"{len(missing)} of the {len(set(days))} days of the {what} ({_ranges(missing)})")
    if not told:
        return None
    return f"predictions has no partition of {' and '.join(told)}: judged without them."


def _ranges(days: Sequence[date]) -> str:
    """Ascending days in words, neighbours as first and last."""
    ranges: list[list[date]] = []
    for day in days:
        if ranges and day - ranges[-1][-1] == timedelta(days=1):
            ranges[-1].append(day)
        else:
            ranges.append([day])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in ranges)


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
