"""The file and the commands of docs/labels.md do what the page says."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.lake.label_files import ALLOWED
from shadow_platform.cli import typer_app
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import PREDICTIONS, QUARANTINED_LABELS
from shadow_platform_tests.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "labels.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line.removeprefix(".venv/bin/shadow"))
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture
def lake(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A home that answered the page's requests, and a folder that holds the page's file."""
    (content,) = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "late_arrivals.csv").write_text(content)
    lake = Lake(layout)
    for n, line in enumerate(content.splitlines()[1:]):
        subject, at, *_ = line.split(",")
        row = {
            "use_case": "flights",
            "request_id": f"r{n}",
            "subject_id": subject,
            "requested_at": at.rstrip("Z") + "Z",
        }
        lake.append_rows(PREDICTIONS, "flights", [dict.fromkeys(PREDICTIONS.column_names) | row | {"features": "{}"}])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")
    return lake


def test_the_commands_of_the_page_do_what_it_says(lake: Lake) -> None:
    dry, real, query, backfill = (CliRunner().invoke(typer_app, command) for command in COMMANDS)

    assert [done.exit_code for done in (dry, real, query, backfill)] == [1, 1, 0, 1], real.output
    assert "'2013-03-01T10:45:00' has no offset from UTC" in dry.output
    assert "2013-03-09" in real.output
    assert "late_arrivals.csv" in query.output
    assert lake.read_table(QUARANTINED_LABELS, "flights")["row"].tolist() == [3, 3]


def test_every_column_of_the_file_is_explained() -> None:
    assert all(re.search(rf"^\| `{name}`", PAGE, re.MULTILINE) for name in ALLOWED)
