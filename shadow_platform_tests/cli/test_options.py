"""Which use case a command means that is told none."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from shadow_platform.cli import typer_app
from shadow_platform.cli.options import default_use_case, sole_use_case
from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.layout import Layout

CHANGING = [
    ("rollback", "--reason", "bad"),
    ("promote", "2", "--reason", "good"),
    ("canary", "start", "2"),
    ("canary", "share", "0.5"),
    ("canary", "stop", "--reason", "bad"),
    ("challengers", "set", "2", "--no-max-lag"),
    ("challengers", "add", "2", "--reason", "again"),
    ("challengers", "remove", "2", "--reason", "slow"),
    ("models", "reconcile"),
]


@pytest.fixture(autouse=True)
def nothing_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHADOW_USE_CASE", raising=False)
    monkeypatch.chdir(tmp_path)  # where no .env lies


def serve(layout: Layout, *names: str) -> None:
    for name in names:
        path = layout.manifest(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


@pytest.mark.parametrize("command", CHANGING)
def test_what_changes_a_deployment_asks_which_when_several_are_served(layout: Layout, command: tuple[str, ...]) -> None:
    serve(layout, "fraud", "flights")

    refused = CliRunner().invoke(typer_app, [*command])

    assert isinstance(refused.exception, UseCaseError)
    assert str(refused.exception) == (
        "which use case? flights, fraud are served here; name one with -u or SHADOW_USE_CASE"
    )


def test_what_only_looks_means_the_default_then(layout: Layout) -> None:
    serve(layout, "fraud", "flights")

    assert default_use_case() == "churn"
    assert "churn" in CliRunner().invoke(typer_app, ["alerts", "list"]).output


def test_the_only_one_that_is_served_is_meant_and_a_setting_goes_before(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(layout, "fraud")
    assert default_use_case() == sole_use_case() == "fraud"
    serve(layout, "flights")
    monkeypatch.setenv("SHADOW_USE_CASE", "credit")
    assert default_use_case() == sole_use_case() == "credit"


@pytest.mark.parametrize("command", [("doctor",), ("models", "list"), ("rollback",)])
def test_the_help_says_which(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")

    said = CliRunner().invoke(typer_app, [*command, "--help"]).output

    assert "SHADOW_USE_CASE, else the only one served" in said
    assert "dynamic" not in said
