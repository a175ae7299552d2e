"""Typed columns of the JSON objects in a chunk, by two ways to one result.

``certain_rows`` reads a chunk as a whole, in native code, and gives up if anything in it could be a fault.
``careful_rows`` reads it line by line and says what is wrong with which line; it takes four times as long. What the
first accepts, the second accepts with the same values, which a test holds over random bytes.

Belongs here: JSON, types, times. Does not belong here: what values may be (rules). Upstream: lines. Downstream: rules.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from shadow_platform.domain.events.faults import Faults
from shadow_platform.domain.events.form import INTEGER, TIME, RowForm
from shadow_platform.domain.events.lines import MAX_LINE_BYTES, Chunk

_MICROSECONDS = pa.timestamp("us", "UTC")
_NANOSECONDS = pa.timestamp("ns", "UTC")
_WITH_OFFSET = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(Z|[+-]\d\d:?\d\d)$"
_INT64 = range(-(2**63), 2**63)
# Of the fields of a row that nobody knows, so many are named besides the first, each by so many characters.
MAX_NAMES, MAX_NAME = 5, 80


def certain_rows(chunk: Chunk, form: RowForm) -> pd.DataFrame | None:
    """All lines as typed rows indexed by line number, or ``None`` unless each is beyond doubt."""
    content = chunk.content.replace(b"\r\n", b"\n") if b"\r" in chunk.content else chunk.content
    n_rows = _n_plain_lines(content) if content else 0
    if not n_rows:
        return None
    parsing = arrow_json.ParseOptions(explicit_schema=form.arrow, unexpected_field_behavior="error")
    try:
        table = arrow_json.read_json(pa.BufferReader(content), parse_options=parsing)
        table.validate(full=True)
        if table.num_rows != n_rows or not _is_complete(table, content, form):
            return None
        for place, (name, json_type) in enumerate(form.json_types.items()):
            if json_type is TIME:
                table = table.set_column(place, name, _times(table[name]))
    except pa.ArrowInvalid:
        return None
    frame: pd.DataFrame = table.drop_columns(["schema_version"]).to_pandas()
    frame.index = pd.RangeIndex(chunk.first_row, chunk.first_row + n_rows)
    return frame


def careful_rows(chunk: Chunk, form: RowForm, faults: Faults) -> tuple[pd.DataFrame, int]:
    """Sound lines as typed rows indexed by line number, and the number of lines that are not blank."""
    lines = {row: line for row, line in enumerate(chunk.lines, chunk.first_row) if line.strip()}
    objects: dict[int, dict[str, Any]] = {}
    for row, line in lines.items():
        try:
            objects[row] = _object(line)
        except ValueError as error:
            is_cut_off = chunk.is_torn and row == chunk.last_row
            faults.refuse(row, None, f"the last line is cut off: {error}" if is_cut_off else str(error))
    _check_fields(objects, form, faults)
    return _typed(objects, form, faults), len(lines)


def _n_plain_lines(content: bytes) -> int:
    """Number of lines if each starts with ``{``, ends with ``}`` and is not too long; else 0.

    A newline cannot stand within a JSON string, and nested objects fit no column. So as many objects as such lines
    means one object a line.
    """
    characters = np.frombuffer(content, dtype=np.uint8)
    ends = np.flatnonzero(characters == ord("\n"))
    starts = np.concatenate(([0], ends[:-1] + 1))
    is_plain = (characters[starts] == ord("{")) & (characters[ends - 1] == ord("}"))
    is_plain &= ends - starts <= MAX_LINE_BYTES
    return len(ends) if is_plain.all() else 0


def _is_complete(table: pa.Table, content: bytes, form: RowForm) -> bool:
    """Whether every row has the version and every field. A null may stand for a missing field: the names are counted.

    In a valid object without unknown fields, ``"name":`` stands where the field is and nowhere else.
    """
    versions = table["schema_version"]
    if versions.null_count or not pc.all(pc.equal(versions, form.kind.schema_version)).as_py():
        return False
    for name in form.json_types:
        column = table[name]
        if column.null_count:
            is_missing = content.count(orjson.dumps(name) + b":") != table.num_rows
            if is_missing or name in form.filled:
                return False
        if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
            return False
    return True


def _times(texts: Any, precision: pa.DataType = _MICROSECONDS) -> Any:
    """Arrow array of the times in an array of texts; raises ``ArrowInvalid`` if one is none, or has no offset."""
    if pc.all(pc.match_substring_regex(texts, _WITH_OFFSET)).as_py() is False:
        raise pa.ArrowInvalid("a time without offset")
    return texts.cast(precision)


def _object(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"the line is too long: more than {MAX_LINE_BYTES:,} bytes")
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as wrong:
            place = f"byte {wrong.start} is {line[wrong.start : wrong.start + 1].hex()}"
            raise ValueError(f"not UTF-8: {place}; deliver UTF-8 text") from error
        raise ValueError(f"not JSON: {error}; expected one complete JSON object a line") from error
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    return value


def _check_fields(objects: dict[int, dict[str, Any]], form: RowForm, faults: Faults) -> None:
    expected, expected_version = form.json_types.keys(), form.kind.schema_version
    for row, value in objects.items():
        version = value.pop("schema_version", None)
        if version != expected_version or isinstance(version, bool):
            faults.refuse(row, "schema_version", f"expected schema_version {expected_version}, found {version!r:.80}")
        elif value.keys() != expected:
            for name in sorted(expected - value.keys()):
                faults.refuse(row, name, "the field is missing")
            if unknown := sorted(value.keys() - expected):
                faults.refuse(row, unknown[0][:MAX_NAME], _unknown_fields(unknown[1:]))


def _unknown_fields(others: Sequence[str]) -> str:
    """One reason for all unknown fields of a row: a sender may put any number of them into it."""
    named = ", ".join(repr(name[:MAX_NAME]) for name in others[:MAX_NAMES])
    more = f" and {len(others) - MAX_NAMES:,} more" if len(others) > MAX_NAMES else ""
    return "the field is unknown to the schema" + (f": and so are {named}{more}" if others else "")


def _typed(objects: dict[int, dict[str, Any]], form: RowForm, faults: Faults) -> pd.DataFrame:
    rows = {row: value for row, value in objects.items() if row not in faults.rows}
    for name in form.json_types:
        _check_types(rows, name, form, faults)
    rows = {row: value for row, value in rows.items() if row not in faults.rows}
    index = pd.Index(list(rows), dtype="int64")
    columns = {name: pd.Series([row[name] for row in rows.values()], index, object, name) for name in form.json_types}
    for name, json_type in form.json_types.items():
        if json_type is TIME:
            columns[name] = _parsed_times(columns[name], faults)
        elif name in form.decoded:
            columns[name] = columns[name].astype(json_type.arrow.to_pandas_dtype())
    frame = pd.DataFrame(columns, index)
    return frame.drop(index=list(faults.rows & set(frame.index)))


def _check_types(rows: dict[int, dict[str, Any]], name: str, form: RowForm, faults: Faults) -> None:
    json_type = form.json_types[name]
    accepted = json_type.python if name in form.filled else json_type.python | {type(None)}
    for row, value in rows.items():
        found = value[name]
        if type(found) in accepted and (json_type is not INTEGER or found is None or found in _INT64):
            continue
        rule = "failed not_nullable" if found is None else f"expected {json_type.expected}"
        faults.refuse(row, name, f"{rule}, found {found!r:.80}")


def _parsed_times(texts: "pd.Series[Any]", faults: Faults) -> "pd.Series[Any]":
    values = pa.array(texts.tolist(), pa.string())
    try:
        moments = _times(values)
    except pa.ArrowInvalid:
        moments = pa.array([None if text is None else _time(text) for text in texts], _MICROSECONDS)
        for place in np.flatnonzero(pc.is_null(moments).to_numpy(False) & texts.notna().to_numpy()).tolist():
            reason = f"expected {TIME.expected}, found {texts.iat[place]!r:.80}"
            faults.refuse(int(texts.index[place]), str(texts.name), reason)
    return pd.Series(moments.to_pandas().array, texts.index, name=texts.name)


def _time(text: str) -> Any:
    """The time to the microsecond, ``None`` if the text is none; finer digits are cut off."""
    texts = pa.array([text])
    try:
        return _times(texts)[0]
    except pa.ArrowInvalid:
        pass
    try:
        return pc.floor_temporal(_times(texts, _NANOSECONDS), unit="microsecond").cast(_MICROSECONDS)[0]
    except pa.ArrowInvalid:
        return None
