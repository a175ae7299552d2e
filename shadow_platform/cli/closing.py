"""The demo's last page: where everything stands, read from the published tables, and how to look at each part.

Upstream: tables, deployment manifest. Downstream: people.
"""

import re
from pathlib import Path

import pandas as pd
from rich.console import Group
from rich.table import Table

from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.tables import (
    DRIFT_VERDICTS,
    GATE_DECISIONS,
    PERFORMANCE_DAILY,
    PERFORMANCE_VERDICTS,
    SHADOW_COMPARISONS,
)
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource


def closing_table(platform: PlatformResource, use_case: UseCase) -> Group:
    """What stands where, and the commands to look at it."""
    return Group(_standing(platform, use_case), _commands(platform, use_case))


def _standing(platform: PlatformResource, use_case: UseCase) -> Table:
    lake = platform.lake()
    table = Table("what", "where it stands", title=use_case.title, title_justify="left", show_lines=True)
    manifest = read_manifest(platform.layout.manifest(use_case.name))
    if manifest is None:
        table.add_row("champion", "none deployed yet")
        return table
    champion = manifest.champion
    table.add_row(
        "champion",
        f"version {champion.version} ({champion.model_name}), generation {manifest.generation}"
        + _performance(lake, use_case, champion.version),
    )
    for row in _shadow(lake, use_case).itertuples(index=False):
        performance = _performance(lake, use_case, str(row.challenger_version))
        table.add_row(
            f"version {row.challenger_version} in the shadow of {row.champion_version}",
            f"{row.compared} compared, {row.failed} failed, {row.dropped} dropped; "
            f"agrees on {row.agreement:.1%}, {row.flips} flips{performance}",
        )
    for row in _latest(lake, use_case, DRIFT_VERDICTS, "window_end").itertuples(index=False):
        table.add_row(f"drift until {row.window_end:%Y-%m-%d}", f"{row.outcome}: {row.headline}")
    for row in _latest(lake, use_case, PERFORMANCE_VERDICTS, "window_end").itertuples(index=False):
        table.add_row(f"performance until {row.window_end:%Y-%m-%d}", f"{row.outcome}: {row.explanation}")
    for row in lake.read_table(GATE_DECISIONS, use_case.name).tail(3).itertuples(index=False):
        table.add_row(f"gate: version {row.challenger_version}", f"{row.decision}: {row.reason}")
    return table


def _latest(lake: Lake, use_case: UseCase, schema: object, column: str) -> pd.DataFrame:
    return lake.read_table(schema, use_case.name).sort_values(column).tail(1)  # type: ignore[arg-type]


def _shadow(lake: Lake, use_case: UseCase) -> pd.DataFrame:
    frame = lake.read_table(SHADOW_COMPARISONS, use_case.name)
    grouped = frame.groupby(["champion_version", "challenger_version"], as_index=False)
    return grouped.agg(
        compared=("outcome", lambda o: int((o == "compared").sum())),
        failed=("outcome", lambda o: int((o == "failed").sum())),
        dropped=("outcome", lambda o: int((o == "dropped").sum())),
        agreement=("prediction_match", lambda m: float(m.dropna().astype(bool).mean())),
        flips=("prediction_match", lambda m: int((~m.dropna().astype(bool)).sum())),
    )


def _performance(lake: Lake, use_case: UseCase, version: str) -> str:
    frame = lake.read_table(PERFORMANCE_DAILY, use_case.name)
    frame = frame[(frame["model_version"] == version) & frame["log_loss"].notna()]
    if frame.empty:
        return ""
    weights = frame["n_labelled"] + frame["n_censored"].fillna(0)
    loss = (frame["log_loss"] * weights).sum() / weights.sum()
    return f"; log loss {loss:.4f} on {int(frame['n_labelled'].sum())} matured labels"


def _commands(platform: PlatformResource, use_case: UseCase) -> Table:
    layout = platform.layout
    reports = sorted(layout.reports(use_case.name).rglob("*.html"), key=lambda path: path.stat().st_mtime)
    table = Table("look at", "command", title="Where to look", title_justify="left")
    prefix = f"SHADOW_HOME={_short(layout.home)} "
    table.add_row("runs, assets, plots", f"{prefix}.venv/bin/shadow ui   then http://127.0.0.1:3000")
    store = _shown(platform.settings.mlflow_uri)
    table.add_row("experiments, models", f".venv/bin/mlflow ui --backend-store-uri {store}")
    table.add_row("tables", f"duckdb -readonly {_short(layout.warehouse)}")
    table.add_row("a question", f'{prefix}.venv/bin/shadow sql "FROM gate_decisions SELECT decision, reason"')
    if reports:
        table.add_row("drift report", f"open {_short(reports[-1])} in a browser")
    table.add_row("API and its docs", f"{prefix}.venv/bin/shadow serve -u {use_case.name}   then /docs on port 8000")
    table.add_row("undo the promotion", f'{prefix}.venv/bin/shadow rollback -u {use_case.name} --reason "..."')
    return table


def _shown(address: str) -> str:
    """An address without the user and password in it."""
    return re.sub(r"(\w+://)[^\s/]*@", r"\1", address)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
