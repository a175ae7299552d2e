"""Events stage: raw rows become valid events, or are quarantined with the reason; nothing is dropped silently.

Belongs here: what makes a row valid. Does not belong here: reading files and writing partitions. Upstream: raw JSON
lines. Downstream: the events and quarantined_events assets.

A row is valid if it is one complete JSON object in UTF-8 of the accepted schema version, has exactly the kind's
columns with the right JSON types, times with an offset, ``event_at`` not after ``received_at``, ``received_at`` in the
file's day, a key not seen before, and passes the kind's pandera schema.
"""

import json
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pandas as pd

from shadow_platform.contracts.errors import EventFileError
from shadow_platform.contracts.records import QuarantinedEvent
from shadow_platform.contracts.tables import QUARANTINED_EVENTS
from shadow_platform.contracts.use_case import EventKind

Key = tuple[Any, ...]
MAX_PAYLOAD_CHARS = 4_096
MAX_ROUNDS = 5
_OFFSET = re.compile(r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(Z|[+-]\d\d:?\d\d)$")
_JSON_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "number": ((int, float), "a number"),
    "integer": ((int,), "a whole number"),
    "boolean": ((bool,), "true or false"),
    "text": ((str,), "a string"),
    "time": ((str,), "an RFC 3339 time"),
}


@dataclass(frozen=True, slots=True)
class ParsedEvents:
    """One raw file, sorted out. ``n_rows`` counts its lines but blank ones; each is valid or quarantined."""

    valid: pd.DataFrame
    quarantined: tuple[QuarantinedEvent, ...]
    n_rows: int

    @property
    def n_quarantined(self) -> int:
        """Rows in quarantine; a row may be there for several columns."""
        return len({event.row for event in self.quarantined})


@dataclass(slots=True)
class _Sorting:
    """Rows still in the running, by line number, and the faults found so far."""

    kind: EventKind
    file: str
    payloads: dict[int, str] = field(default_factory=dict)
    faults: dict[tuple[int, str | None], str] = field(default_factory=dict)

    def refuse(self, row: int, column: str | None, reason: str) -> None:
        self.faults.setdefault((row, column), reason)

    @property
    def refused(self) -> set[int]:
        return {row for row, _ in self.faults}

    def quarantined(self) -> tuple[QuarantinedEvent, ...]:
        return tuple(
            QuarantinedEvent(self.kind.name, self.file, row, column, reason, self.payloads[row][:MAX_PAYLOAD_CHARS])
            for (row, column), reason in sorted(self.faults.items(), key=lambda fault: (fault[0][0], fault[0][1] or ""))
        )


def parse_events(
    content: bytes, kind: EventKind, file: str, received_on: date, known_keys: Container[Key] = ()
) -> ParsedEvents:
    """Sort the rows of one raw file into valid events and quarantined ones.

    Args:
        content: JSON lines as received.
        file: name for the quarantine record.
        received_on: UTC day whose file it is.
        known_keys: keys of events received on earlier days; a row that repeats one is a duplicate.

    Raises:
        EventFileError: the file is no text of lines at all (binary, UTF-16, compressed).
    """
    if content[:2] in {b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b"} or content[:4] == b"PAR1":
        raise EventFileError(
            f"{file} is not UTF-8 JSON lines (starts with {content[:4]!r}); deliver it as plain UTF-8 text"
        )
    sorting = _Sorting(kind, file)
    objects = _decode(content, sorting)
    _check_fields(objects, sorting)
    frame = _typed(objects, sorting)
    _check_times(frame, received_on, sorting)
    frame = _validated(frame.drop(index=list(sorting.refused & set(frame.index))), sorting)
    frame = _without_duplicates(frame, known_keys, sorting)
    return ParsedEvents(frame.reset_index(drop=True), sorting.quarantined(), len(sorting.payloads))


def event_keys(frame: pd.DataFrame, kind: EventKind) -> list[Key]:
    """Key of every event, in order."""
    return list(frame[list(kind.key)].itertuples(index=False, name=None))


def quarantine_frame(events: Iterable[QuarantinedEvent], use_case: str, received_on: date) -> pd.DataFrame:
    """Rows of the ``quarantined_events`` table."""
    start = datetime.combine(received_on, time.min, tzinfo=UTC)
    rows = [(use_case, start, e.kind, e.file, e.row, e.column, e.reason, e.payload) for e in events]
    return pd.DataFrame(rows, columns=list(QUARANTINED_EVENTS.column_names))


def _decode(content: bytes, sorting: _Sorting) -> dict[int, dict[str, Any]]:
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    is_torn = lines[-1].strip() != b""
    objects: dict[int, dict[str, Any]] = {}
    for row, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        sorting.payloads[row] = line.decode("utf-8", errors="backslashreplace")
        try:
            value = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
        except UnicodeDecodeError as error:
            sorting.refuse(row, None, f"not UTF-8 at byte {error.start}; expected UTF-8 text")
        except ValueError as error:
            is_last = is_torn and row == len(lines)
            what = "the last line is cut off" if is_last else "not JSON"
            sorting.refuse(row, None, f"{what}: {error}; expected one complete JSON object a line")
        else:
            if isinstance(value, dict):
                objects[row] = value
            else:
                sorting.refuse(row, None, f"expected a JSON object, found {type(value).__name__}")
    return objects


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _check_fields(objects: Mapping[int, dict[str, Any]], sorting: _Sorting) -> None:
    kind = sorting.kind
    expected = set(kind.schema.columns)
    for row, value in objects.items():
        version = value.pop("schema_version", None)
        if version != kind.schema_version or isinstance(version, bool):
            sorting.refuse(row, "schema_version", f"expected schema_version {kind.schema_version}, found {version!r}")
            continue
        if value.keys() != expected:
            for name in sorted(expected - value.keys()):
                sorting.refuse(row, name, "the field is missing")
            for name in sorted(value.keys() - expected):
                sorting.refuse(row, name, "the field is unknown to the schema")


def _typed(objects: Mapping[int, dict[str, Any]], sorting: _Sorting) -> pd.DataFrame:
    """Rows as a frame indexed by line number, JSON types checked and times parsed."""
    columns = {name: _json_type(str(column.dtype)) for name, column in sorting.kind.schema.columns.items()}
    refused = sorting.refused
    rows = {row: value for row, value in objects.items() if row not in refused}
    data: dict[str, Any] = {}
    for name, json_type in columns.items():
        accepted, expected = _JSON_TYPES[json_type]
        values = [value[name] for value in rows.values()]
        for row, value in zip(rows, values, strict=True):
            if value is None:
                continue
            is_wrong = not isinstance(value, accepted) or (isinstance(value, bool) and json_type != "boolean")
            if is_wrong or (json_type == "time" and not _OFFSET.match(value)):
                sorting.refuse(row, name, f"expected {expected}{_with_offset(json_type)}, found {value!r:.80}")
        data[name] = values
    frame = pd.DataFrame(data, index=pd.Index(list(rows), dtype="int64"), dtype=object)
    frame = frame.drop(index=list(sorting.refused & set(rows)))
    for name, json_type in columns.items():
        if json_type == "time":
            frame[name] = _times(frame[name], sorting)
    return frame.drop(index=list(sorting.refused & set(frame.index)))


def _with_offset(json_type: str) -> str:
    return " with its offset from UTC" if json_type == "time" else ""


def _json_type(dtype: str) -> str:
    lowered = dtype.lower()
    for prefix, name in (("datetime", "time"), ("float", "number"), ("bool", "boolean")):
        if lowered.startswith(prefix):
            return name
    return "integer" if lowered.startswith(("int", "uint")) else "text"


def _times(values: "pd.Series[Any]", sorting: _Sorting) -> "pd.Series[Any]":
    parsed = pd.to_datetime(values, utc=True, format="ISO8601", errors="coerce").astype("datetime64[us, UTC]")
    for row in values.index[parsed.isna() & values.notna()]:
        sorting.refuse(int(row), str(values.name), f"expected an RFC 3339 time, found {values[row]!r:.80}")
    return parsed


def _check_times(frame: pd.DataFrame, received_on: date, sorting: _Sorting) -> None:
    start = pd.Timestamp(datetime.combine(received_on, time.min, tzinfo=UTC))
    event_at, received_at = frame["event_at"], frame["received_at"]
    for row in frame.index[event_at > received_at]:
        found = f"event_at {event_at[row].isoformat()} is after received_at {received_at[row].isoformat()}"
        sorting.refuse(int(row), "event_at", f"{found}; an event cannot be received before it happens")
    outside = (received_at < start) | (received_at >= start + timedelta(days=1))
    for row in frame.index[outside]:
        found = f"received_at {received_at[row].isoformat()} is not on {received_on}"
        sorting.refuse(int(row), "received_at", f"{found}; the row belongs into the file of its own day")


def _validated(frame: pd.DataFrame, sorting: _Sorting) -> pd.DataFrame:
    """Rows that pass the schema, in its types. A failure that names no row is looked for row by row."""
    import pandera.errors

    schema = sorting.kind.schema
    for _ in range(MAX_ROUNDS):
        try:
            validated: pd.DataFrame = schema.validate(frame, lazy=True)
            return validated[list(schema.columns)]
        except pandera.errors.SchemaErrors as error:
            cases = error.failure_cases
        located = cases[cases["index"].isin(frame.index)]
        if located.empty:
            break
        for case in located.itertuples():
            column = None if case.column in (None, "") or case.schema_context == "DataFrameSchema" else str(case.column)
            sorting.refuse(int(case.index), column, f"failed {case.check}, found {case.failure_case!r:.80}")
        frame = frame.drop(index=list(sorting.refused & set(frame.index)))
    return _validated_singly(frame, sorting)


def _validated_singly(frame: pd.DataFrame, sorting: _Sorting) -> pd.DataFrame:
    import pandera.errors

    schema = sorting.kind.schema
    for row in frame.index:
        try:
            schema.validate(frame.loc[[row]], lazy=True)
        except pandera.errors.SchemaErrors as error:
            for case in error.failure_cases.itertuples():
                sorting.refuse(int(row), str(case.column), f"failed {case.check}, found {case.failure_case!r:.80}")
    try:
        validated: pd.DataFrame = schema.validate(frame.drop(index=list(sorting.refused & set(frame.index))), lazy=True)
    except pandera.errors.SchemaErrors as error:
        raise EventFileError(
            f"{sorting.file}: rows pass the schema of {sorting.kind.name!r} one by one but not together: {error}; "
            "declare checks on rows only"
        ) from error
    return validated[list(schema.columns)]


def _without_duplicates(frame: pd.DataFrame, known: Container[Key], sorting: _Sorting) -> pd.DataFrame:
    seen: set[Key] = set()
    for row, key in zip(frame.index, event_keys(frame, sorting.kind), strict=True):
        if key in seen or key in known:
            named = dict(zip(sorting.kind.key, key, strict=True))
            sorting.refuse(int(row), None, f"duplicate of an event already received: {named}")
        seen.add(key)
    return frame.drop(index=list(sorting.refused & set(frame.index)))
