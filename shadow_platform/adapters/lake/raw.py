"""Raw event files: JSON lines, one file a kind and receipt day, kept as received.

Belongs here: writing a file once, adding lines that came later, and reading it in pieces. Does not belong here: what
its rows must look like (``domain.events``). Upstream: event sources, streams, and external systems that drop files.
Downstream: the events stage.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
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


def add_lines(path: Path, lines: Iterable[bytes]) -> int | None:
    """Bring a file to hold every line given as often as it is given, keeping all that it has; how many were added.

    ``None``: it holds them all and was not touched. Raises ``EventFileError``, and the file is as before.
    """
    try:
        held = Counter(map(_digest, _lines_of(path)))
        missing = (line for line in lines if not _is_held(line, held))
        first = next(missing, None)
        if first is None and path.exists():
            return None
        with replaced_by(path) as beside:
            return _extended(path, beside, [] if first is None else chain([first], missing))
    except OSError as error:
        raise EventFileError(
            f"raw event file {path} could not be written, it is as before: {error}; free the disk"
        ) from error


def _extended(path: Path, beside: Path, missing: Iterable[bytes]) -> int:
    if path.exists():
        shutil.copyfile(path, beside)
    n_added = 0
    with beside.open("ab") as file:
        if file.tell() and not _ends_line(path):
            file.write(b"\n")
        for line in missing:
            file.write(line + b"\n")
            n_added += 1
    return n_added


def _lines_of(path: Path) -> Iterator[bytes]:
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                yield line.removesuffix(b"\n")


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _is_held(line: bytes, held: Counter[bytes]) -> bool:
    digest = _digest(line)
    held[digest] -= 1
    return held[digest] >= 0


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()


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
