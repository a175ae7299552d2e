"""Commands that look and change nothing: SQL over the warehouse, and the check of a set-up.

Upstream: warehouse, settings, adapters. Downstream: people.
"""

import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import typer
from rich.console import Console
from rich.table import Table

from shadow_platform.cli.options import RowFormat
from shadow_platform.cli.servers import server_checks
from shadow_platform.cli.system_errors import refused_by_system
from shadow_platform.contracts.errors import NoChampion, SettingsError, ShadowPlatformError
from shadow_platform.contracts.tables import MODEL_VERSIONS
from shadow_platform.resources import PlatformResource
from shadow_platform.settings import load_settings
from shadow_platform.use_cases import load_use_case

MIN_FREE_BYTES = 2 * 1024**3
# Narrower columns cannot be read: a row is then printed as a record, a line a column.
MIN_COLUMN_WIDTH = 12


def run_sql(query: str, row_format: RowFormat) -> None:
    """Print the rows of a query; raises ``ShadowPlatformError`` for a missing warehouse or wrong SQL."""
    import duckdb

    warehouse = load_settings().layout.warehouse
    if not warehouse.exists():
        raise ShadowPlatformError(f"{warehouse} does not exist yet; run `shadow demo` or materialize `warehouse`")
    try:
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            # Else a day is cut where the machine's clock has its midnight.
            connection.execute("SET TimeZone = 'UTC'")
            relation = connection.sql(query)
            names, rows = ([], []) if relation is None else (relation.columns, relation.fetchall())
    except duckdb.Error as error:
        raise ShadowPlatformError(f"{query!r}: {error}") from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if row_format is RowFormat.JSON and twice:
        raise ShadowPlatformError(f"two columns are called {', '.join(twice)}, JSON keeps one; rename one with AS")
    _print_rows(names, rows, row_format)


def _print_rows(names: Sequence[str], rows: Sequence[tuple[object, ...]], row_format: RowFormat) -> None:
    if row_format is RowFormat.JSON:
        for row in rows:
            print(json.dumps(dict(zip(names, row, strict=True)), default=str))
    elif row_format is RowFormat.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([names, *rows])
    else:
        console = Console()
        is_wide = len(names) * MIN_COLUMN_WIDTH > console.width
        as_records = row_format is RowFormat.RECORDS or (row_format is RowFormat.AUTO and is_wide)
        for table in _records(names, rows) if as_records else [_table(names, rows)]:
            console.print(table)


def _table(names: Sequence[str], rows: Sequence[tuple[object, ...]]) -> Table:
    table = Table(*names)
    for row in rows:
        table.add_row(*(_text(value) for value in row))
    return table


def _records(names: Sequence[str], rows: Sequence[tuple[object, ...]]) -> Iterator[Table]:
    for number, row in enumerate(rows, start=1):
        table = Table("", "", title=f"row {number} of {len(rows)}", title_justify="left", show_header=False)
        for name, value in zip(names, row, strict=True):
            table.add_row(name, _text(value))
        yield table


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _home() -> str:
    layout = load_settings().layout
    layout.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=layout.home):  # a folder that is there may still be one to read only
        free = shutil.disk_usage(layout.home).free
    if free < MIN_FREE_BYTES:
        raise ShadowPlatformError(f"{free / 1e9:.1f} GB free below {layout.home}, expected 2; make room")
    return f"{layout.home}, {free / 1e9:.0f} GB free"


def _feature_store(use_case: str) -> str:
    store = PlatformResource().feature_store(load_use_case(use_case))
    views = store.applied_views()
    if not views:
        raise ShadowPlatformError("nothing applied yet; run `shadow demo` or materialize `feature_definitions`")
    return f"{len(views)} views applied"


def _registry(use_case: str) -> str:
    from shadow_platform.adapters.deployment import is_registry_behind

    platform, use_case = PlatformResource(), load_use_case(use_case).name
    registry = platform.registry()
    versions = registry.versions(use_case)
    told = set(platform.lake().read_table(MODEL_VERSIONS, use_case, columns=["version"])["version"])
    untold = [known for known in versions if known.version not in told]
    if untold:
        names = ", ".join(f"{known.version} (as of {known.tags.get('trained_as_of', '?')})" for known in untold)
        raise ShadowPlatformError(
            f"no row of model_versions tells of version {names}: its training died; train again as of the same time"
        )
    if is_registry_behind(load_settings().layout, use_case):
        raise ShadowPlatformError("aliases still have to follow what serves; run `shadow models reconcile`")
    return f"{len(versions)} versions, champion {registry.alias(use_case, 'champion') or 'not set'}"


def _deployment(use_case: str) -> str:
    from shadow_platform.adapters.bundle import Bundle
    from shadow_platform.adapters.deployment import read_manifest

    layout, use_case = load_settings().layout, load_use_case(use_case).name
    manifest = read_manifest(layout.manifest(use_case))
    if manifest is None:
        raise NoChampion(use_case, layout.manifest(use_case))
    Bundle.load(layout.bundles / manifest.champion.bundle_hash).selftest()
    return f"generation {manifest.generation}, champion {manifest.champion.version} passes its self-test"


def _settings() -> str:
    settings = load_settings()
    return f"environment {settings.environment}, serves as {', '.join(sorted(settings.roles))}"


def examine(use_case: str) -> int:
    """Print one line a check; return 0 when all passed, else 1."""
    checks: dict[str, Callable[[], str]] = {
        "settings": _settings,
        "home": _home,
        "use case": lambda: load_use_case(use_case).title,
    }
    # Of settings or a use case that cannot be read they would only say so again.
    with suppress(ShadowPlatformError):
        load_use_case(use_case)
        checks |= {
            "feature store": lambda: _feature_store(use_case),
            "registry": lambda: _registry(use_case),
            "deployment": lambda: _deployment(use_case),
        }
    with suppress(SettingsError):  # which the first check tells
        checks |= server_checks(load_settings())
    failed = 0
    for name, check in checks.items():
        try:
            typer.secho(f"ok    {name}: {check()}", fg="green")
            continue
        except ShadowPlatformError as error:
            told = str(error)
        except OSError as error:
            told = refused_by_system(error)
        failed += 1
        typer.secho(f"fail  {name}: {told}", fg="red")
    return 1 if failed else 0
