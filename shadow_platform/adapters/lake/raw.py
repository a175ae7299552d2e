"""Raw event files: JSON lines, one file a kind and receipt day, kept as received.

Belongs here: writing a file once and reading it whole. Does not belong here: what its rows must look like
(``domain.events``). Upstream: event sources and external systems that drop files. Downstream: the events stage.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shadow_platform.adapters.lake.parquet import replaced_by
from shadow_platform.contracts.errors import EventFileError


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, whole or not at all; raises ``EventFileError``."""
    try:
        with replaced_by(path) as beside:
            beside.write_text("".join(f"{json.dumps(dict(row), allow_nan=False)}\n" for row in rows), encoding="utf-8")
    except (OSError, TypeError, ValueError) as error:
        raise EventFileError(
            f"raw event file {path} could not be written, nothing was: {error}; free the disk or correct the source, "
            "which must give JSON-ready mappings"
        ) from error


def read_bytes(path: Path) -> bytes:
    """Content of a file; raises ``EventFileError`` when it is missing or unreadable."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise EventFileError(
            f"raw event file {path} cannot be read: {error.strerror}; drop it there, or materialize raw_events for its "
            "day"
        ) from error
