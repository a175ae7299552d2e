"""Guarantees of ``shadow simulate`` as a command: what cannot be played is one clear line."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from shadow_platform.cli import typer_app
from shadow_platform.contracts.errors import ShadowPlatformError


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--use-case", "churn", "--policy", "hope"], "policy 'hope' is unknown"),
        (["--use-case", "flights", "--start", "2013-12-01", "--days", "90"], "at most 31 days can be played, not 90"),
        (["--use-case", "flights", "--drift", "concept"], "the events of flights are real"),
    ],
)
def test_what_cannot_be_played_is_refused_before_anything_is_landed(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHADOW_HOME", str(tmp_path))

    result = CliRunner().invoke(typer_app, ["simulate", *arguments])

    assert isinstance(result.exception, ShadowPlatformError)
    assert told in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHADOW_HOME", str(tmp_path / "home"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")

    result = CliRunner().invoke(
        typer_app, ["simulate", "--use-case", "churn", "--output", str(tmp_path / "mine"), "--anew"]
    )

    assert isinstance(result.exception, ShadowPlatformError)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "do not touch"
