"""Rows beside the file they came from, by the UTC day of their receipt: a day is read back without the rest.

Belongs here: temporary files. Does not belong here: which day a row is of (source). Upstream: source. Downstream:
source. They lie in the system's folder for temporary files (``TMPDIR``), take about the room of the rows as JSON
lines, and go with the object.
"""

import json
import shutil
import tempfile
import weakref
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

ROWS_IN_MEMORY = 1 << 15
_encode = json.JSONEncoder(allow_nan=False).encode
_NO_DAY = "none"


class Spool:
    """Rows by day; those without a day lie apart."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="shadow-events-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._pending: dict[str, list[str]] = defaultdict(list)
        self._n_pending = 0
        self.days: set[date] = set()

    def add(self, day: date | None, row: Mapping[str, Any]) -> None:
        """Keep a row."""
        if day is not None:
            self.days.add(day)
        self._pending[_name(day)].append(_encode(row))
        self._n_pending += 1
        if self._n_pending == ROWS_IN_MEMORY:
            self._write()

    def read(self, day: date | None) -> list[dict[str, Any]]:
        """Rows of a day, or of none, in the order they were added."""
        self._write()
        path = self._folder / _name(day)
        if not path.exists():
            return []
        with path.open("rb") as file:
            return [json.loads(line) for line in file]

    def _write(self) -> None:
        for name, lines in self._pending.items():
            with (self._folder / name).open("a", encoding="ascii") as file:
                file.writelines(f"{line}\n" for line in lines)
        self._pending.clear()
        self._n_pending = 0


def _name(day: date | None) -> str:
    return _NO_DAY if day is None else day.isoformat()
