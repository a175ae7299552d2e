"""How far a challenger is: what its own shadow log says it has compared, and what still waits in the prediction log.

A record carries the offset of the prediction it belongs to, so the shadow log is the only memory that counts, and a
crash between two writes cannot make the two disagree. Upstream: prediction log, shadow log. Downstream: the shadow
worker, ``GET /shadow/comparison``.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from shadow_platform.adapters.log import FileLogSource, decode_prediction, decode_shadow
from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LoggedLine
from shadow_platform.contracts.records import PredictionRecord, ShadowRecord

SCANNED_LINES = 100_000


def shadow_root(layout: Layout, use_case: str, version: str) -> Path:
    """Root of a challenger's shadow log."""
    return layout.log("shadow", use_case) / f"challenger={version}"


def predictions_since(layout: Layout, use_case: str, since: datetime | None) -> FileLogSource:
    """Prediction log, from the segments on that can hold lines logged at ``since``."""
    return FileLogSource(layout.log("predictions", use_case), since=since)


def shadow_records(source: FileLogSource, position: dict[str, int]) -> Iterator[ShadowRecord]:
    """Records behind ``position``, which is moved along; unreadable lines are left out."""
    for line in source.read(position):
        position[line.offset.segment] = line.offset.end
        try:
            yield decode_shadow(line.payload)
        except LogError:
            continue


def decoded(line: LoggedLine) -> PredictionRecord | None:
    """The prediction of a line; ``None`` when it is unreadable, or what a lane reckons with is of a wrong type."""
    try:
        prediction = decode_prediction(line.payload)
        logged_at = datetime.fromisoformat(prediction.logged_at)
    except (LogError, TypeError, ValueError):
        return None
    is_typed = isinstance(prediction.request_id, str) and isinstance(prediction.probability, int | float)
    return prediction if is_typed and logged_at.tzinfo is not None else None


def advance(after: dict[str, int], record: ShadowRecord) -> None:
    """Count a live record's prediction as done."""
    segment, end = record.source.segment, record.source.end
    if not record.is_replay and after.get(segment, 0) < end:
        after[segment] = end


def is_replayed(segment: Path) -> bool:
    """Whether a replay wrote this segment of a shadow log: what is live and what is replayed never share one."""
    try:
        with segment.open("rb") as file:
            return decode_shadow(file.readline()).is_replay
    except (OSError, LogError):
        return False


def skip_to_tail(
    source: FileLogSource, position: dict[str, int], n_bytes: int, kind_of: Callable[[str], Hashable] | None = None
) -> None:
    """Move ``position`` along so that at most the last ``n_bytes`` of each kind of segment are behind it.

    It may then point into a line, whose rest reads as unreadable and is left out.
    """
    left: dict[Hashable, int] = defaultdict(lambda: n_bytes)
    for segment, size in reversed(source.segments()):
        known = position.get(segment, 0)
        if size > known:
            kind = kind_of(segment) if kind_of else None
            position[segment] = max(known, size - left[kind])
            left[kind] -= size - position[segment]


def count_waiting(source: FileLogSource, after: Mapping[str, int], since: str, limit: int) -> tuple[int, str | None]:
    """Number of predictions (at most ``limit``) that wait to be compared, and when the first of them was logged.

    No more than ``SCANNED_LINES`` are looked at: those of the hour before ``since`` are no part of the answer.
    """
    n, first = 0, None
    for line in source.read(after, SCANNED_LINES):
        prediction = decoded(line)
        if prediction is None or prediction.logged_at < since:
            continue
        n += 1
        first = prediction.logged_at if first is None else min(first, prediction.logged_at)
        if n >= limit:
            break
    return n, first
