"""Raw event files: JSON lines, one file a kind and receipt day, kept as received.

Belongs here: writing a file once and reading it in pieces. Does not belong here: what its rows must look like
(``domain.events``). Upstream: event sources and external systems that drop files. Downstream: the events stage.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shadow_platform.adapters.lake.parquet import replaced_by
from shadow_platform.contracts.errors import EventFileError

BLOCK_BYTES = 1 << 22
_ENCODER = json.JSONEncoder(allow_nan=False)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, whole or not at all; raises ``EventFileError``."""
    try:
        with replaced_by(path) as beside:
            _write_lines(beside, (_ENCODER.encode(dict(row)) for row in rows))
    except (OSError, TypeError, ValueError) as error:
        raise EventFileError(
            f"raw event file {path} could not be written, nothing was: {error}; free the disk or correct the source, "
            "which must give JSON-ready mappings"
        ) from error


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def read_blocks(path: Path) -> Iterator[bytes]:
    """Content of a file, a few megabytes at a time; raises ``EventFileError`` when it is missing or unreadable."""
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(BLOCK_BYTES):
                yield block
    except OSError as error:
        raise EventFileError(
            f"raw event file {path} cannot be read: {error.strerror}; drop a file there that this user may read, or "
            "materialize raw_events for its day"
        ) from error
