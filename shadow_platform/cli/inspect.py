"""Commands that look and change nothing: SQL over the warehouse, and the check of a set-up.

Upstream: warehouse, settings, adapters. Downstream: people.
"""

import shutil
from collections.abc import Callable

import typer
from rich.console import Console
from rich.table import Table

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.resources import PlatformResource
from shadow_platform.settings import load_settings
from shadow_platform.use_cases import load_use_case

MIN_FREE_BYTES = 2 * 1024**3


def run_sql(query: str) -> None:
    """Print the rows of a query; raises ``ShadowPlatformError`` for a missing warehouse or wrong SQL."""
    import duckdb

    warehouse = load_settings().layout.warehouse
    if not warehouse.exists():
        raise ShadowPlatformError(f"{warehouse} does not exist yet; run `shadow demo` or materialize `warehouse`")
    try:
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            relation = connection.sql(query)
            table = Table(*([] if relation is None else relation.columns))
            for row in [] if relation is None else relation.fetchall():
                table.add_row(*("" if value is None else str(value) for value in row))
    except duckdb.Error as error:
        raise ShadowPlatformError(f"{query!r}: {error}") from error
    Console().print(table)


def _home() -> str:
    layout = load_settings().layout
    layout.home.mkdir(parents=True, exist_ok=True)
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

    registry, use_case = PlatformResource().registry(), load_use_case(use_case).name
    versions = registry.versions(use_case)
    if is_registry_behind(load_settings().layout, use_case):
        raise ShadowPlatformError("aliases still have to follow what serves; run `shadow models reconcile`")
    return f"{len(versions)} versions, champion {registry.alias(use_case, 'champion') or 'not set'}"


def _deployment(use_case: str) -> str:
    from shadow_platform.adapters.bundle import Bundle
    from shadow_platform.adapters.deployment import read_manifest

    layout, use_case = load_settings().layout, load_use_case(use_case).name
    manifest = read_manifest(layout.manifest(use_case))
    if manifest is None:
        raise ShadowPlatformError(f"{layout.manifest(use_case)} does not exist; run the {use_case}_train job")
    Bundle.load(layout.bundles / manifest.champion.bundle_hash).selftest()
    return f"generation {manifest.generation}, champion {manifest.champion.version} passes its self-test"


def examine(use_case: str) -> int:
    """Print one line a check; return 0 when all passed, else 1."""
    checks: dict[str, Callable[[], str]] = {
        "settings": lambda: f"environment {load_settings().environment}",
        "home": _home,
        "use case": lambda: load_use_case(use_case).title,
        "feature store": lambda: _feature_store(use_case),
        "registry": lambda: _registry(use_case),
        "deployment": lambda: _deployment(use_case),
    }
    failed = 0
    for name, check in checks.items():
        try:
            typer.secho(f"ok    {name}: {check()}", fg="green")
        except ShadowPlatformError as error:
            failed += 1
            typer.secho(f"fail  {name}: {error}", fg="red")
    return 1 if failed else 0
