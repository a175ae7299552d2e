"""``shadow gate``: a decision is shown, comes out again or says what differs, and promotions are reviewed."""

import sys
from collections.abc import Callable
from datetime import timedelta

import pytest
from typer.testing import CliRunner, Result

from shadow_platform.cli import app, typer_app
from shadow_platform.cli.gates import again, showing
from shadow_platform.cli.gates.again import MEANING
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import GATE_REVIEWS, PREDICTIONS
from shadow_platform_tests.assets.gate_home import (
    AS_OF,
    USE_CASE,
    change_rows,
    correct_labels,
    decide,
    promote,
    served_home,
    stored,
)
from shadow_platform_tests.assets.served import Home

NAME = "shadow_platform_tests.assets.gate_home:USE_CASE"
Gate = Callable[..., Result]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A served home on which a gate has decided twice: early to wait, later to promote."""
    made = served_home(Layout(tmp_path_factory.mktemp("gates") / "home"))
    decide(made, as_of=AS_OF - timedelta(days=9))
    decide(made, has_page=True)
    return made


@pytest.fixture
def home(template: Home, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy of the template, whose registry is in memory."""
    copy = template.copied_to(layout)
    for module in (again, showing):
        monkeypatch.setattr(module, "PlatformResource", lambda: copy.platform)
        monkeypatch.setattr(module.CONSOLE, "_width", 200)
    return copy


@pytest.fixture
def gate(home: Home) -> Gate:
    """Runs ``shadow gate ...`` on the copy."""
    return lambda *arguments: CliRunner().invoke(typer_app, ["gate", *arguments, "-u", NAME])


def test_the_latest_decision_is_shown_with_every_criterion_and_its_page(home: Home, gate: Gate) -> None:
    latest = stored(home)[-1]

    said = gate("show").output

    assert "challenge: version 2 in place of champion 1?  promote" in said
    assert latest.decision_id in said
    assert all(criterion.name in said for criterion in latest.criteria)
    assert str(home.layout.decision_page(USE_CASE.name, latest.decision_id)) in said


def test_a_decision_is_shown_by_the_first_digits_of_its_id_and_all_are_listed(home: Home, gate: Gate) -> None:
    early, late = stored(home)

    assert "wait" in gate("show", early.decision_id[:10]).output
    listed = gate("show", "--list").output
    assert listed.index(early.decision_id[:12]) < listed.index(late.decision_id[:12])


def test_a_replay_ends_with_0_when_the_bytes_are_the_same(home: Home, gate: Gate) -> None:
    result = gate("replay", stored(home)[-1].decision_id)

    assert result.exit_code == 0
    assert "comes out the same, byte for byte: promote" in result.output


def test_a_replay_ends_with_1_and_names_what_differs(home: Home, gate: Gate) -> None:
    change_rows(home, PREDICTIONS, lambda rows: rows.assign(probability=rows["probability"] / 2), day=2)

    result = gate("replay", stored(home)[-1].decision_id[:8])

    assert result.exit_code == 1
    assert MEANING["answers"] in result.output
    assert MEANING["labels"] not in result.output


def test_a_replay_of_an_unknown_decision_ends_with_2(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["shadow", "gate", "replay", "nothing", "-u", NAME])

    with pytest.raises(SystemExit) as ended:
        app()

    assert ended.value.code == 2
    assert "no decision on shop with an id that starts with 'nothing'" in capsys.readouterr().err


def test_a_review_without_promotions_says_so(home: Home, gate: Gate) -> None:
    result = gate("review", "--days", "7")

    assert result.exit_code == 0
    assert f"no decision changed the champion of shop in {home.layout.home} in the last 7 days" in result.output


def test_a_review_ends_with_1_and_notes_a_promotion_that_corrected_labels_reopen(home: Home, gate: Gate) -> None:
    promote(home, stored(home)[-1].decision_id)
    assert "stands" in gate("review").output
    correct_labels(home, AS_OF + timedelta(hours=5), lambda labels: labels.index >= 0)

    result = gate("review")

    assert result.exit_code == 1
    assert "reopened" in result.output
    assert home.lake.read_table(GATE_REVIEWS, USE_CASE)["outcome"].tolist() == ["reopened"]


def test_every_fingerprint_of_a_decision_has_its_meaning(home: Home) -> None:
    assert set(stored(home)[-1].fingerprints) == set(MEANING)
