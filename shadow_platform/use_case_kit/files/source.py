"""Which column of a file is what, and the days on which its rows were received.

Belongs here: columns of events, days of receipt. Does not belong here: formats (``reading``), types (``values``).
Upstream: reading, values, spool. Downstream: use cases whose events lie in files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import EventKind
from shadow_platform.use_case_kit.files.reading import Unreadable, Values, columns, rows
from shadow_platform.use_case_kit.files.spool import Spool
from shadow_platform.use_case_kit.files.values import Convert, converter, utc_time

MAX_SHOWN_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class EventFile:
    """Events of one kind in one file, a row each.

    A time without an offset is UTC. Without a column ``received_at`` an event counts as received when it happened;
    without a column ``event_id`` it is named after its kind and row, so that rows may only ever be appended.

    Attributes:
        path: ends in ``.csv``, ``.parquet``, ``.jsonl`` or ``.ndjson``; text is UTF-8.
        columns: column of the file by column of the event, where the two differ. ``None`` instead of a column: the
            file has none that means ``event_id`` or ``received_at``, even if one is called so.
        present: column of the file that is empty in rows which hold no such event; ``None``: every row holds one.
    """

    kind: EventKind
    path: Path
    columns: Mapping[str, str | None] = field(default_factory=dict)
    present: str | None = None


class FileSource:
    """Event source over files, one a kind; each is read once, when first asked for, in bounded memory.

    A row without a time of receipt, or with one in the future, belongs to no day. It comes with the first day of all,
    as it was written, so that it lands in quarantine rather than nowhere; so does a row that cannot be read, as a field
    ``unreadable``.

    Args:
        now: nothing can have been received later; ``None``: by the clock.
    """

    def __init__(self, *files: EventFile, now: datetime | None = None) -> None:
        self._files = files
        self._now = now or datetime.now(UTC)

    def first_day(self) -> date:
        """First day with events."""
        return min(min(spool.days) for spool in self._spools.values())

    def last_day(self) -> date:
        """Last day with events."""
        return max(max(spool.days) for spool in self._spools.values())

    def received_on(self, day: date) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Raw rows received on a UTC day, by event kind, in order of receipt."""
        return {kind: self._rows(day, spool) for kind, spool in self._spools.items()}

    def _rows(self, day: date, spool: Spool) -> list[Values]:
        received = sorted(spool.read(day), key=lambda row: str(row["received_at"]))
        return received + spool.read(None) if day == self.first_day() else received

    @cached_property
    def _spools(self) -> dict[str, Spool]:
        return {file.kind.name: _spooled(file, self._now) for file in self._files}


def _spooled(file: EventFile, now: datetime) -> Spool:
    """Events of a file by day.

    Raises:
        UseCaseError: the file cannot be read, lacks a column, holds no event, or none with a time of receipt.
    """
    spool, form, first_without_day = Spool(), _Form.of(file), ""
    for row, values in rows(file.path):
        if isinstance(values, Unreadable):
            spool.add(None, form.unreadable(row, values))
            first_without_day = first_without_day or f"row {row}: {values.why}"
        elif file.present is None or values.get(file.present) is not None:
            event = form.event(row, values)
            received_at = utc_time(event["received_at"])
            day = received_at.date() if received_at and received_at <= now else None
            spool.add(day, event)
            if day is None and not first_without_day:
                first_without_day = form.undated(row, values)
    if spool.days:
        return spool
    if first_without_day:
        raise UseCaseError(f"{file.path} holds no {file.kind.name} with a time of receipt; {first_without_day}")
    raise UseCaseError(f"{file.path} holds no {file.kind.name}; expected at least one row below its column names")


@dataclass(frozen=True, slots=True)
class _Form:
    """How rows of a file become events: column of the file and conversion, by column of the event."""

    file: EventFile
    sources: Mapping[str, tuple[str | None, Convert]]

    @classmethod
    def of(cls, file: EventFile) -> "_Form":
        found = columns(file.path)
        dtypes = {name: str(column.dtype) for name, column in file.kind.schema.columns.items()}
        sources = {name: (_column(file, name, found), converter(dtype)) for name, dtype in dtypes.items()}
        if sources["received_at"][0] is None:
            sources["received_at"] = sources["event_at"]
        if file.present is not None and file.present not in found:
            raise _lacks(file, file.present, "whether a row holds an event", found)
        return cls(file, sources)

    def event(self, row: int, values: Values) -> Values:
        event = {
            name: None if column is None else convert(values.get(column))
            for name, (column, convert) in self.sources.items()
        }
        return self._named(row, event)

    def unreadable(self, row: int, found: Unreadable) -> Values:
        shown = {"file": self.file.path.name, "row": row, "why": found.why, "text": found.text[:MAX_SHOWN_CHARS]}
        return {"unreadable": shown, **self._named(row, dict.fromkeys(self.sources))}

    def undated(self, row: int, values: Values) -> str:
        column = self.sources["received_at"][0] or ""
        return (
            f"row {row}, column {column!r}: {values.get(column)!r} is no time in the past; expected ISO 8601 such "
            "as 2024-01-31T09:30:00Z"
        )

    def _named(self, row: int, event: Values) -> Values:
        if self.sources["event_id"][0] is None:
            event["event_id"] = f"{self.file.kind.name}-{row}"
        return event | {"schema_version": self.file.kind.schema_version}


def _column(file: EventFile, name: str, found: Sequence[str]) -> str | None:
    column = file.columns.get(name, name)
    is_optional = name in ("event_id", "received_at") and (column is None or name not in file.columns)
    if column in found:
        return column
    if is_optional:
        return None
    raise _lacks(file, str(column), f"{name!r} of {file.kind.name}", found)


def _lacks(file: EventFile, column: str, what: str, found: Sequence[str]) -> UseCaseError:
    return UseCaseError(f"{file.path} has no column {column!r}, from which {what} is read; it has: {', '.join(found)}")
