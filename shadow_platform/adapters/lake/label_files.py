"""Label files as people bring them: CSV, Parquet and JSON lines, read in chunks with the number of every row.

Belongs here: what makes a file or one of its lines unreadable. Does not belong here: what a value must be
(``domain.labels``), keeping the rows (``label_imports``). Upstream: a file. Downstream: the import.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from shadow_platform.contracts.errors import LabelFileError
from shadow_platform.contracts.records import QuarantinedLabel

REQUIRED = ("subject_id", "requested_at", "label")
ALLOWED = (*REQUIRED, "event_at", "known_at")
CHUNK_ROWS = 100_000
Format = Literal["csv", "parquet", "jsonl"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a file.

    Attributes:
        rows: ``row`` (from 1, without a header) and the file's columns, as received.
        broken: lines that are no row at all.
        n_rows: rows and broken lines.
        share_read: of the whole file, 0 to 1.
    """

    rows: pd.DataFrame
    broken: list[QuarantinedLabel]
    n_rows: int
    share_read: float

    @property
    def columns(self) -> list[str]:
        """Columns of the file."""
        return [name for name in self.rows.columns if name != "row"]


def format_of(path: Path) -> Format:
    """Format by the extension; raises ``LabelFileError`` for one that is not known."""
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise LabelFileError(f"{path.name}: extension {path.suffix!r} is none of {', '.join(FORMATS)}; give --format")
    return found


def content_hash(path: Path) -> str:
    """First 16 digits of the SHA-256 of a file; raises ``LabelFileError`` when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise LabelFileError(f"{path} cannot be read: {error.strerror}; expected a file of labels") from error


def read_chunks(path: Path, kind: Format, subject: str) -> Iterator[Chunk]:
    """Rows of a file in chunks; a column named ``subject`` is taken for ``subject_id``.

    Raises:
        LabelFileError: the file is empty, cut off or of another format, or its columns are not those of labels.
    """
    readers: dict[Format, Callable[[Path, str], Iterator[Chunk]]] = {
        "csv": _read_csv,
        "jsonl": _read_json_lines,
        "parquet": _read_parquet,
    }
    n_rows = 0
    for chunk in readers[kind](path, subject):
        n_rows += chunk.n_rows
        yield chunk
    if not n_rows:
        raise LabelFileError(f"{path.name} holds no rows; expected columns {', '.join(REQUIRED)} and one row a label")


def _columns(path: Path, found: Sequence[str], subject: str) -> list[str]:
    """Columns under the names of the platform; an unknown one may be a misspelt ``known_at``, so it is refused."""
    names = ["subject_id" if name == subject else name for name in found]
    missing = [name for name in REQUIRED if name not in names]
    unknown = [name for name in names if name not in ALLOWED]
    repeated = sorted({name for name in names if names.count(name) > 1})
    for fault, of in (("missing", missing), ("unknown", unknown), ("there more than once", repeated)):
        if of:
            raise LabelFileError(
                f"{path.name}: column {', '.join(map(repr, of))} is {fault}; expected {', '.join(REQUIRED)} (or "
                f"{subject!r} for 'subject_id'), and at most {', '.join(ALLOWED[len(REQUIRED) :])} beside them"
            )
    return names


def _open(path: Path) -> BinaryIO:
    file = path.open("rb")
    if file.peek(2)[:2] in _UTF16:
        file.close()
        raise LabelFileError(f"{path.name} is UTF-16 text; expected UTF-8, save it anew")
    return file


def _share(file: BinaryIO, size: int) -> float:
    return min(1.0, file.tell() / max(1, size))


def _read_csv(path: Path, subject: str) -> Iterator[Chunk]:
    # Bytes that are no UTF-8 become surrogates, so that one wrong name costs one row.
    with _open(path) as file, TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="") as text:
        lines, size, row = csv.reader(text), path.stat().st_size, 0
        filled = (values for values in lines if values)
        try:
            header = next(filled, None)
            columns = [] if header is None else _columns(path, header, subject)
            while fields := list(islice(filled, CHUNK_ROWS)):
                numbered = [(row + place, values) for place, values in enumerate(fields, 1)]
                good = [(n, *values) for n, values in numbered if len(values) == len(columns)]
                broken = [_wrong_width(n, values, columns) for n, values in numbered if len(values) != len(columns)]
                rows = pd.DataFrame(good, columns=["row", *columns], dtype=object)
                yield Chunk(rows, broken, len(fields), _share(file, size))
                row += len(fields)
        except csv.Error as error:
            raise LabelFileError(
                f"{path.name}: line {lines.line_num} cannot be read: {error}; expected comma-separated values, "
                'quoted with "'
            ) from error


def _wrong_width(row: int, values: list[str], columns: list[str]) -> QuarantinedLabel:
    reason = f"has {len(values)} fields, the header has {len(columns)}"
    return QuarantinedLabel(row, None, reason, json.dumps(values))


def _read_json_lines(path: Path, subject: str) -> Iterator[Chunk]:
    with _open(path) as file:
        size, row, columns = path.stat().st_size, 0, list[str]()
        filled = (line for line in file if line.strip())
        while lines := list(islice(filled, CHUNK_ROWS)):
            if not row:
                _require_objects(path, lines)
            good: list[dict[str, Any]] = []
            broken: list[QuarantinedLabel] = []
            for line in lines:
                row += 1
                found = _json_row(line, row, subject)
                if isinstance(found, QuarantinedLabel):
                    broken.append(found)
                    continue
                columns = columns or _columns(path, list(found), subject)
                good.append({"row": row, **found})
            values = {name: [found.get(name) for found in good] for name in ("row", *ALLOWED)}
            yield Chunk(pd.DataFrame(values, dtype=object), broken, len(lines), _share(file, size))


def _require_objects(path: Path, lines: Sequence[bytes]) -> None:
    """Raise when a file begins as an array, or none of its first lines is an object of its own (pretty-printed)."""
    if lines[0].lstrip().startswith(b"[") or not any(_is_object(line) for line in lines):
        raise LabelFileError(
            f"{path.name} is not JSON lines (an array or pretty-printed JSON is not); write one object a line"
        )


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _json_row(line: bytes, row: int, subject: str) -> dict[str, Any] | QuarantinedLabel:
    """One object of known fields, or why it is none."""
    text = line.decode("utf-8", errors="backslashreplace").rstrip("\n")
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return QuarantinedLabel(row, None, f"is not JSON in UTF-8: {error}", text)
    if not isinstance(found, dict):
        return QuarantinedLabel(row, None, "is no JSON object; expected one object a line", text)
    if subject in found and "subject_id" not in found:
        found["subject_id"] = found.pop(subject)
    if row > 1 and not found.keys() <= set(ALLOWED):
        unknown = next(name for name in found if name not in ALLOWED)
        return QuarantinedLabel(row, unknown, f"is unknown; expected {', '.join(ALLOWED)}", text)
    return found


def _read_parquet(path: Path, subject: str) -> Iterator[Chunk]:
    try:
        with pq.ParquetFile(path) as file:
            columns, total, row = _columns(path, file.schema_arrow.names, subject), file.metadata.num_rows, 0
            _require_flat(path, file.schema_arrow)
            for batch in file.iter_batches(CHUNK_ROWS):
                frame = batch.to_pandas(integer_object_nulls=True)
                frame.columns = pd.Index(columns)
                for name in frame.columns[frame.dtypes.map(lambda dtype: dtype.kind != "M")]:
                    frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
                frame.insert(0, "row", range(row + 1, row + 1 + len(frame)))
                row += len(frame)
                yield Chunk(frame, [], len(frame), row / total)
    except (pa.ArrowException, OSError) as error:
        raise LabelFileError(
            f"{path.name} is no whole Parquet file: {str(error).splitlines()[0]}; copy or write it anew"
        ) from error


def _require_flat(path: Path, schema: pa.Schema) -> None:
    for field in schema:
        if pa.types.is_nested(field.type):
            raise LabelFileError(
                f"{path.name}: column {field.name!r} holds {field.type}; expected one value a row: text, a number, a "
                "truth value or a time"
            )
