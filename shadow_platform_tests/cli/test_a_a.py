"""``shadow a-a``: exit codes that a script can act on, and nothing a person has to look up elsewhere."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from shadow_platform.cli import typer_app
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.answered import answers
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import deploy
from shadow_platform_tests.bento.shadowed import log


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("SHADOW_HOME", str(tmp_path))
    monkeypatch.setenv("SHADOW_USE_CASE", shop.NAME)
    monkeypatch.setenv("COLUMNS", "200")
    return Layout(tmp_path)


def shadow(*arguments: str) -> Result:
    return CliRunner().invoke(typer_app, ["a-a", *arguments])


@pytest.mark.processes
def test_the_exit_code_is_the_outcome_and_every_run_is_listed_with_its_reason(layout: Layout) -> None:
    digest = line_bundle(layout.bundles)
    deploy(layout, digest)
    log(layout, answers(layout, digest, range(200)))
    few = shadow("run", "--requests", "150")
    assert (few.exit_code, few.output.splitlines()[-1]) == (
        2,
        "insufficient: 150 answers of version 1 could be compared, at least 200 wanted",
    )
    enough = shadow("run")
    assert enough.exit_code == 0, enough.output
    assert "pass: all 200 answers are given again by version 1" in enough.output
    (told,) = answers(layout, digest, [200])
    log(layout, [replace(told, prediction=not told.prediction)])
    differing = shadow("run")
    assert differing.exit_code == 1
    assert "fail: 1 of 201 answers differ" in differing.output
    assert "most of all request r-200" in differing.output
    listed = shadow("list").output
    assert [line for line in listed.splitlines() if "r-200" in line]
    (run_id,) = {line.partition(":")[0] for line in listed.splitlines() if ": 1 of 201" in line}
    assert shadow("explain", run_id, "--reason", "known").exit_code == 0
    last = shadow("list", "--limit", "1").output
    assert "explained" in last
    assert "known" in last


def test_without_a_champion_a_run_says_what_to_do(layout: Layout) -> None:
    refused = shadow("run")
    assert isinstance(refused.exception, ShadowPlatformError)
    assert "use case shop serves no model yet" in str(refused.exception)
    assert "run the job shop_train in `shadow ui`, or `shadow demo -u shop`" in str(refused.exception)
    assert shadow("list").exit_code == 0


def test_a_run_that_is_not_known_is_not_explained(layout: Layout) -> None:
    refused = shadow("explain", "abc", "--reason", "known")
    assert isinstance(refused.exception, ShadowPlatformError)
    assert "0 A/A runs of shop have an id that starts with 'abc'" in str(refused.exception)
