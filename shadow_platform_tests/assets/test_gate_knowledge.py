"""A challenger that was trained on what nobody knew yet is refused, however good it looks."""

from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from shadow_platform.assets.gates.knowledge import held_against
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import LABELS
from shadow_platform.contracts.verdicts import Decision, Outcome
from shadow_platform_tests.assets.gate_home import USE_CASE, decide, served_home, stored
from shadow_platform_tests.assets.served import Home

TRAINED = datetime.fromisoformat("2024-03-01T00:00:00+00:00")
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return served_home(Layout(tmp_path_factory.mktemp("knowledge") / "home"))


@pytest.fixture
def home(template: Home, layout: Layout) -> Home:
    """A copy of the template that a test may change."""
    return template.copied_to(layout)


def labels(*rows: tuple[str, timedelta, bool, timedelta]) -> pd.DataFrame:
    """Rows of labels: subject, request and knowledge relative to the training, label."""
    names = ("subject_id", "requested_at", "label", "known_at")
    made = [
        dict(zip(names, (who, TRAINED + at, label, TRAINED + known), strict=True)) for who, at, label, known in rows
    ]
    return pd.DataFrame(made).assign(event_at=lambda f: f["known_at"], source="events")


def frame(*rows: tuple[str, timedelta, bool | None, timedelta]) -> pd.DataFrame:
    return labels(*rows).astype({"label": "boolean"})[["subject_id", "requested_at", "label", "known_at"]]  # type: ignore[arg-type]


HONEST = ("a", -5 * DAY, True, -4 * DAY)


@pytest.mark.parametrize(
    ("row", "tabled", "n_leaked"),
    [
        pytest.param(HONEST, [HONEST], 0, id="known then"),
        pytest.param(HONEST, [], 0, id="of a day that was never tabled"),
        pytest.param(("a", DAY, True, DAY), [], 1, id="request made after the training"),
        pytest.param(("a", 0 * DAY, True, -DAY), [], 1, id="request made at the training"),
        pytest.param(("a", -DAY, True, DAY), [], 1, id="label that the frame itself dates later"),
        pytest.param(("a", -DAY, True, -DAY), [("a", -DAY, True, DAY)], 1, id="label first known later"),
        pytest.param(
            ("a", -5 * DAY, False, -4 * DAY), [HONEST, ("a", -5 * DAY, False, DAY)], 1, id="correction that came later"
        ),
        pytest.param(HONEST, [HONEST, ("a", -5 * DAY, False, DAY)], 0, id="corrected later, trained on what was said"),
        pytest.param(
            ("a", -5 * DAY, False, -3 * DAY),
            [HONEST, ("a", -5 * DAY, False, -3 * DAY)],
            0,
            id="correction that was known then",
        ),
        pytest.param(("a", -DAY, None, -DAY), [("a", -DAY, True, DAY)], 0, id="row without a label"),
    ],
)
def test_only_what_was_not_known_then_is_a_leak(row: Any, tabled: list[Any], n_leaked: int) -> None:
    known = labels(*tabled, ("other", -9 * DAY, True, -8 * DAY))

    found = held_against(frame(row), known, TRAINED, USE_CASE)

    assert found.n_leaked == n_leaked
    assert ("not known at 2024-03-01 00:00 UTC" in found.detail) == bool(n_leaked)


def test_a_challenger_trained_on_leaked_labels_is_rejected_and_the_first_row_is_named(home: Home) -> None:
    """Its frame says of every label that it was known, which the table of labels denies."""
    known = home.lake.read_table(LABELS, USE_CASE).head(24)
    leaky = home.keep_frame(
        subject_id=known["subject_id"].to_numpy(), requested_at=known["requested_at"], label=known["label"].to_numpy()
    )
    version = home.register(0.06, -3.01, leaky)
    home.platform.deploy(USE_CASE, "add_challenger", version=version, actor="test", reason="leaky")

    decide(home)

    found = {decision.challenger_version: decision for decision in stored(home)}
    criterion = next(c for c in found[version].criteria if c.name == "training_knowledge")
    assert found[version].decision is Decision.REJECT
    assert (criterion.outcome, criterion.value, criterion.is_hard) == (Outcome.FAIL, 24, True)
    assert f"first: {known['subject_id'].iloc[0]} requested at" in criterion.reason
    assert found["2"].decision is Decision.PROMOTE


def test_a_challenger_whose_frame_is_gone_waits(home: Home) -> None:
    home.layout.frame(USE_CASE.name, home.keep_frame()).unlink()

    decide(home)

    (decision,) = stored(home)
    criterion = next(c for c in decision.criteria if c.name == "training_knowledge")
    assert (decision.decision, criterion.outcome) == (Decision.WAIT, Outcome.INSUFFICIENT)
