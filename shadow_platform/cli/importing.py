"""Imports a file of labels: reads it in chunks, sorts its rows, lands it in one step, brings the tables up to it.

Upstream: a file of labels. Downstream: ``labels`` and ``quarantined_labels``, which their assets write. Killed at any
moment, an import has landed wholly or not at all; the same command again finishes it.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from shadow_platform.adapters.lake.label_files import Format, content_hash, format_of, read_chunks
from shadow_platform.adapters.lake.label_staging import ImportReport, LabelStaging
from shadow_platform.cli.runs import prepare_dagster_home, run_job
from shadow_platform.contracts.errors import LabelFileError
from shadow_platform.contracts.tables import LABELS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.labels import ImportTerms, sort_incoming
from shadow_platform.partitions import end_of, partition_range, start_of
from shadow_platform.resources import PlatformResource
from shadow_platform.use_cases import load_use_case

CONSOLE = Console()
DAY = timedelta(days=1)
UNPARTITIONED = ("quarantined_labels", "warehouse")
# Everything that was ever judged, or trained, says as of when; labels known by then would change it.
EVALUATIONS = """
SELECT max(judged_at) AS latest FROM (
    SELECT as_of AS judged_at FROM gate_decisions WHERE use_case = $use_case
    UNION ALL SELECT labels_as_of FROM performance_daily WHERE use_case = $use_case
    UNION ALL SELECT as_of FROM fairness_groups WHERE use_case = $use_case
    UNION ALL SELECT trained_as_of FROM model_experiments WHERE use_case = $use_case
)
"""


def import_file(
    use_case_name: str, file: Path, kind: Format | None, *, backfill: bool = False, dry_run: bool = False
) -> int:
    """Import a file, bring the tables up to it, print what became of its rows, and return the exit code.

    Nothing is judged from the moment the latest evaluation is looked up until the tables hold the import, so that no
    evaluation comes between.

    Raises:
        LabelFileError: the file as a whole cannot be imported; nothing has changed.
    """
    platform, use_case = PlatformResource(), load_use_case(use_case_name)
    with _nothing_judged(platform, use_case):
        report = land_file(platform, use_case, file, kind, datetime.now(UTC), backfill=backfill, dry_run=dry_run)
        CONSOLE.print(_summary(report))
        if dry_run:
            CONSOLE.print("dry run: nothing was imported")
        else:
            _bring_up_to_date(platform, use_case, report)
    return 1 if report.n_refused else 0


def _nothing_judged(platform: PlatformResource, use_case: UseCase) -> AbstractContextManager[object]:
    """Holds off evaluations of the use case, once those and the imports that are at work have ended."""
    lock = platform.lake().label_imports(use_case).judged_or_imported()
    with CONSOLE.status(f"waiting for evaluations and other imports of {use_case.name} to end"):
        return lock.acquire()


def land_file(
    platform: PlatformResource,
    use_case: UseCase,
    file: Path,
    kind: Format | None,
    now: datetime,
    *,
    backfill: bool = False,
    dry_run: bool = False,
) -> ImportReport:
    """Sort the rows of a file and land them, unless it landed before.

    Raises:
        LabelFileError: as ``import_file``.
        AlreadyRunning: another import for the use case is at work.
    """
    kind = kind or format_of(file)
    import_id = content_hash(file) + ("-backfill" if backfill else "")
    imports = platform.lake().label_imports(use_case)
    with imports.staging(import_id, file.name, now) as staging:
        landed = imports.landed(import_id)
        if landed is not None:
            CONSOLE.print(f"{file.name} was imported as {landed.file} at {landed.imported_at}: nothing is added")
            return landed
        _sort(file, kind, use_case, _terms(platform, use_case, now, backfill=backfill), staging)
        report = staging.finish()
        if not dry_run:
            staging.land()
    return report


def _terms(platform: PlatformResource, use_case: UseCase, now: datetime, *, backfill: bool) -> ImportTerms:
    latest = platform.lake().sql(EVALUATIONS, {"use_case": use_case.name})["latest"].iloc[0]
    last = use_case.last_partition or now.date()
    return ImportTerms(
        now=now,
        opens_at=start_of(use_case.first_partition),
        closes_at=end_of(last),
        evaluated_until=None if backfill or latest is None or latest != latest else latest.to_pydatetime(),
    )


def _sort(file: Path, kind: Format, use_case: UseCase, terms: ImportTerms, staging: LabelStaging) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rows]:,} rows"))
    with Progress(*columns, TimeElapsedColumn(), console=CONSOLE) as progress:
        task, n_rows = progress.add_task(file.name, total=1.0, rows=0), 0
        for chunk in read_chunks(file, kind, use_case.subject):
            if not n_rows:
                _require_a_time(file, chunk.columns, use_case, terms)
            found = sort_incoming(chunk.rows, terms)
            staging.add(found.valid, [*chunk.broken, *found.refused], chunk.n_rows)
            n_rows += chunk.n_rows
            progress.update(task, completed=chunk.share_read, rows=n_rows)


def _require_a_time(file: Path, columns: Iterable[str], use_case: UseCase, terms: ImportTerms) -> None:
    """Without ``known_at`` every label became known now, which must be a day of the use case."""
    if "known_at" not in columns and terms.now >= terms.closes_at:
        raise LabelFileError(
            f"{file.name}: column 'known_at' is missing, and now is no default: the days of {use_case.name} ended at "
            f"{terms.closes_at.isoformat()}; say when each label became known"
        )


def _summary(report: ImportReport) -> Table:
    table = Table("rows", "column", "first row", "why", title=f"{report.file}, import {report.import_id}")
    table.add_row(f"{report.n_accepted:,}", "", "", "accepted")
    if report.n_repeated:
        table.add_row(f"{report.n_repeated:,}", "", "", "repeat another row of the file; counted once")
    for column, (n_rows, first, reason) in report.faults.items():
        table.add_row(f"{n_rows:,}", column, f"{first:,}", f"quarantined: {reason}")
    return table


def _bring_up_to_date(platform: PlatformResource, use_case: UseCase, report: ImportReport) -> None:
    """Make the labels of the days again that were made before; the others take the import up when they are made."""
    from shadow_platform.definitions import build_definitions

    made = set(platform.lake().table_days(LABELS, use_case))
    due = [day for day in report.known_days if day in made]
    later = [day for day in report.known_days if day not in made]
    prepare_dagster_home(platform.settings)
    job = build_definitions([use_case]).resolve_job_def(f"{use_case.name}_label")
    with dg.DagsterInstance.get() as instance, CONSOLE.status("bringing the tables up to date"):
        for first, last in ranges(due):
            run_job(job, instance, tags=partition_range(first, last))
        if report.n_refused and not due:
            run_job(job, instance, asset_selection=[dg.AssetKey([use_case.name, name]) for name in UNPARTITIONED])
    if due:
        CONSOLE.print(f"labels of {len(due)} days were made again: {_days(due)}")
    if later:
        CONSOLE.print(f"labels of {len(later)} days are not made yet and will hold the import: {_days(later)}")


def ranges(days: Iterable[date]) -> list[tuple[date, date]]:
    """First and last day of every run of neighbouring days.

    >>> [(a.day, b.day) for a, b in ranges([date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 5)])]
    [(1, 2), (5, 5)]
    """
    found: list[tuple[date, date]] = []
    for day in sorted(days):
        if found and found[-1][1] + DAY == day:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def _days(days: list[date]) -> str:
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ranges(days))
