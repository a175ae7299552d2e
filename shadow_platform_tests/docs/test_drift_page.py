"""The page on drift: its commands, its files and its queries do what it says."""

import re
import shlex
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from shadow_platform.adapters import reports
from shadow_platform.adapters.lake import Lake
from shadow_platform.cli import typer_app
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.policies import DriftPolicy
from shadow_platform.domain.drift.grid import N_CELLS
from shadow_platform.domain.drift.profiles import MOMENTS
from shadow_platform_tests.domain.drift.frames import frame
from shadow_platform_tests.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "drift.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
COMMANDS = [
    shlex.split(line.removeprefix(".venv/bin/shadow"))
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files the page speaks of."""
    (limits,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "limits.yaml").write_text(limits)
    names = {"n0": "income", "n1": "age", "c0": "zip"}
    for name, seed in (("reference", 1), ("current", 2)):
        frame(1_000, seed).rename(columns=names).to_csv(tmp_path / f"{name}.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_on_files_do_what_the_page_says(folder: Path) -> None:
    on_files = [command for command in COMMANDS if command[0] == "drift" and "--use-case" not in command]
    plain, simulated, limited, taught = (CliRunner().invoke(typer_app, command) for command in on_files)
    assert [done.exit_code for done in (plain, simulated, limited, taught)] == [0, 1, 0, 0], simulated.output
    assert (folder / "verdict.json").exists()
    assert "not monitored" in limited.output
    assert "drift_threshold: 0.3" in taught.output


def test_the_commands_on_a_home_say_what_is_missing_there(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHADOW_HOME", str(layout.home))
    on_a_home = [command for command in COMMANDS if "--use-case" in command]
    said = [str(CliRunner().invoke(typer_app, command).exception) for command in on_a_home]
    assert [("run the job churn_train first" in text, "materialize drift_report" in text) for text in said] == [
        (True, False),
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize("query", re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL))
def test_a_query_of_the_page_runs(layout: Layout, query: str) -> None:
    Lake(layout).publish_warehouse()
    with duckdb.connect(str(layout.warehouse), read_only=True) as connection:
        assert connection.execute(query).fetchall() == []


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    policy = DriftPolicy()
    assert f"`exact_rows` ({policy.exact_rows:,})" in TEXT
    assert f"is time ({policy.window.days} days by default)" in TEXT
    assert f"about {N_CELLS} cells" in TEXT
    assert ", ".join(f"({p},{q})" for p, q in MOMENTS) in TEXT
    assert f"the newest {reports.MAX_RUNS} are kept" in TEXT
    assert f"reduced to {reports.MAX_ROWS:,} rows" in TEXT
