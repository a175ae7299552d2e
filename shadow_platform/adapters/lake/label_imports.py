"""Landed label imports of one use case: a folder an imported file, there whole or not at all, and never changed again.

Belongs here: what has landed, and the lock under which one import lands at a time. Does not belong here: sorting rows
(``domain.labels``, ``label_staging``), the tables (assets). Upstream: staging. Downstream: ``labels``,
``quarantined_labels``, ``training_frame``.
"""

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from filelock import FileLock, Timeout

from shadow_platform.adapters.lake.label_staging import ACCEPTED, REFUSED, REPORT, STAGED, ImportReport, LabelStaging
from shadow_platform.adapters.lake.parquet import (
    connection,
    explained,
    fetch,
    files_relation,
    literal,
    read_frame,
    replaced_by,
)
from shadow_platform.contracts.errors import AlreadyRunning
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import LABELS, QUARANTINED_LABELS
from shadow_platform.contracts.use_case import UseCase

if TYPE_CHECKING:
    from shadow_platform.adapters.lake.store import Lake

_LABEL_TYPES = {column.name: column.type for column in LABELS.columns if column.name != "use_case"}
_REFUSED_TYPES = {column.name: column.type for column in QUARANTINED_LABELS.columns}


class LabelImports:
    """Landed imports below one folder."""

    def __init__(self, layout: Layout, lake: "Lake", use_case: UseCase) -> None:
        self._layout, self._lake, self._use_case = layout, lake, use_case
        self._folder = layout.label_imports(use_case.name)

    def landed(self, import_id: str) -> ImportReport | None:
        """Report of an import; ``None`` if there is none."""
        path = self._folder / import_id / REPORT
        return ImportReport(**json.loads(path.read_bytes())) if path.exists() else None

    def judged_or_imported(self) -> FileLock:
        """Lock under which labels are either judged or imported, so that no import changes what was just judged.

        Whoever comes second waits, however long: the system frees the lock of a process that died.
        """
        return self._lock("judging")

    @contextmanager
    def staging(self, import_id: str, file: str, imported_at: datetime) -> Iterator[LabelStaging]:
        """A place for the rows of one file, which vanishes with all in it unless it lands.

        Raises:
            AlreadyRunning: another import for the use case is at work.
        """
        lock = self._lock("labels")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise AlreadyRunning(f"another import of labels of {self._use_case.name} is at work; wait for it") from None
        with lock:
            for left_by_a_killed_import in self._folder.glob(f"{STAGED}*"):
                shutil.rmtree(left_by_a_killed_import)
            folder = self._folder / f"{STAGED}{uuid.uuid4().hex}"
            folder.mkdir(parents=True)
            try:
                known = self._lake.files(LABELS, self._use_case) + self._files(ACCEPTED)
                yield LabelStaging(self._lake, self._use_case, folder, known, import_id, file, imported_at)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def known_in(self, start: datetime, end: datetime) -> pd.DataFrame:
        """Accepted labels that became known in ``[start, end]``: the columns of ``labels`` without the use case."""
        with connection() as con:
            return fetch(
                con,
                f"FROM ({files_relation(self._files(ACCEPTED), _LABEL_TYPES)}) "
                "WHERE known_at BETWEEN $start AND $end ORDER BY known_at, requested_at, subject_id, source",
                {"start": start, "end": end},
            )

    def refused(self) -> pd.DataFrame:
        """Every refused row of every import, in the columns of ``quarantined_labels``."""
        return read_frame(self._files(REFUSED), _REFUSED_TYPES)

    def publish_refused(self) -> None:
        """Replace the partitions of ``quarantined_labels``; DuckDB copies file to file, whatever they hold."""
        by_day: dict[date, list[Path]] = {}
        for path in self._files(REFUSED):
            report = ImportReport(**json.loads((path.parent / REPORT).read_bytes()))
            if report.n_refused:
                by_day.setdefault(datetime.fromisoformat(report.imported_at).astimezone(UTC).date(), []).append(path)
        for day, files in by_day.items():
            path = self._layout.table(QUARANTINED_LABELS.name, self._use_case.name, day)
            rows = files_relation(files, _REFUSED_TYPES)
            with connection() as con, explained(), replaced_by(path) as beside:
                con.execute(f"COPY ({rows}) TO {literal(str(beside))} (FORMAT parquet, COMPRESSION zstd)")

    def refused_counts(self) -> pd.DataFrame:
        """``file, column_name`` (``row``: all of it) and ``n`` violations of every import."""
        return self._ask(
            "SELECT file, coalesce(column_name, 'row') AS column_name, count(*) AS n FROM refused GROUP BY ALL"
        )

    def n_refused_rows(self) -> int:
        """Refused rows of every import."""
        return int(self._ask("SELECT count(*) AS n FROM (SELECT DISTINCT import_id, row FROM refused)")["n"].iloc[0])

    def _ask(self, query: str) -> pd.DataFrame:
        with connection() as con:
            return fetch(con, f"WITH refused AS ({files_relation(self._files(REFUSED), _REFUSED_TYPES)}) {query}")

    def _lock(self, work: str) -> FileLock:
        path = self._layout.locks(f"{work}-{self._use_case.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    def _files(self, name: str) -> list[Path]:
        return sorted(path for path in self._folder.glob(f"*/{name}") if not path.parent.name.startswith(STAGED))
