"""A stored decision comes out of its tables again byte for byte, and says what changed when it does not."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from shadow_platform.assets.gates import evidence
from shadow_platform.assets.gates.replaying import Rerun, decision_named, run_again
from shadow_platform.contracts.errors import LakeError, RegistryError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import GATE_SEQUENCES, LABELS, PREDICTIONS, SHADOW_COMPARISONS, TableSchema
from shadow_platform.contracts.verdicts import Decision
from shadow_platform_tests.assets.gate_home import (
    AS_OF,
    DAYS,
    USE_CASE,
    change_rows,
    correct_labels,
    decide,
    served_home,
    stored,
)
from shadow_platform_tests.assets.served import FIRST_DAY, Home

CODE = (("assets", "decision"), ("assets", "sequences"), ("domain", "decision"), ("domain", "sequence"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A served home on which a gate has decided."""
    made = served_home(Layout(tmp_path_factory.mktemp("gate") / "home"))
    decide(made)
    return made


@pytest.fixture
def home(template: Home, layout: Layout) -> Home:
    """A copy of the template that a test may change."""
    return template.copied_to(layout)


def again(home: Home) -> Rerun:
    return run_again(home.platform, USE_CASE, decision_named(home.platform, USE_CASE, None))


def test_a_decision_comes_out_again_byte_for_byte(home: Home) -> None:
    rerun = again(home)

    assert rerun.is_same
    assert rerun.found.model_dump_json() == decision_named(home.platform, USE_CASE, None).record
    assert rerun.stored.decision is Decision.PROMOTE


def test_what_became_known_or_was_answered_later_changes_nothing(home: Home) -> None:
    later = pd.Timestamp.now("UTC") + timedelta(days=1)
    correct_labels(home, AS_OF + timedelta(hours=1), lambda labels: labels.index % 2 == 0)
    day = home.lake.read_table(PREDICTIONS, USE_CASE, FIRST_DAY.date(), FIRST_DAY.date() + timedelta(days=1))
    logged_later = day.assign(request_id="late" + day["request_id"], logged_at=later)
    home.lake.append_rows(PREDICTIONS, USE_CASE, logged_later)
    future = day.assign(request_id="next" + day["request_id"], requested_at=day["requested_at"] + timedelta(days=30))
    home.lake.append_rows(PREDICTIONS, USE_CASE, future)
    home.pass_a_a(run_id="later", ran_at=later, n_differing=1, outcome="fail")

    assert again(home).is_same


def test_every_changed_input_is_named(home: Home) -> None:
    change_rows(home, PREDICTIONS, lambda rows: rows.assign(probability=rows["probability"] + 0.01), day=3)
    assert again(home).differing == ("answers", "evidence", "operation")

    change_rows(home, SHADOW_COMPARISONS, lambda rows: rows.assign(outcome="dropped"), day=4)
    assert again(home).differing == ("answers", "comparisons", "evidence", "operation")

    correct_labels(home, AS_OF - timedelta(hours=1), lambda labels: labels.index == 100)
    assert again(home).differing == ("answers", "comparisons", "evidence", "labels", "operation")


@pytest.mark.parametrize("behind", [PREDICTIONS, SHADOW_COMPARISONS], ids=lambda schema: schema.name)
def test_what_was_logged_then_and_tabled_later_changes_nothing(home: Home, behind: TableSchema) -> None:
    """The last rows of a day, and a whole day, come into a table after the decision; both were in the log by then."""
    last = FIRST_DAY + timedelta(days=DAYS - 1)
    days = [(last + timedelta(days=offset)).date() for offset in (-1, 0, 1)]
    rows = [home.lake.read_table(behind, USE_CASE, day, day + timedelta(days=1)) for day in days]
    home.lake.write_table(behind, USE_CASE, days[0], rows[0].head(40))
    for day in days[1:]:
        shutil.rmtree(home.lake.files(behind, USE_CASE, day, day + timedelta(days=1))[0].parent)
    before = {decision.decision_id for decision in stored(home)}

    decide(home)
    (made,) = [decision for decision in stored(home) if decision.decision_id not in before]
    for day, of_day in zip(days, rows, strict=True):
        home.lake.write_table(behind, USE_CASE, day, of_day)

    assert made.as_of == last - timedelta(microseconds=1)
    assert made.maturity.n_requests == (640 if behind is PREDICTIONS else 660)
    found = decision_named(home.platform, USE_CASE, made.decision_id)
    assert run_again(home.platform, USE_CASE, found).is_same


@pytest.mark.parametrize("behind", [PREDICTIONS, SHADOW_COMPARISONS], ids=lambda schema: schema.name)
def test_a_decision_stays_before_a_day_that_is_not_in_a_table_though_a_later_one_is(
    home: Home, behind: TableSchema
) -> None:
    gap = FIRST_DAY + timedelta(days=DAYS - 2)
    shutil.rmtree(home.lake.files(behind, USE_CASE, gap.date(), gap.date() + timedelta(days=1))[0].parent)
    before = {decision.decision_id for decision in stored(home)}

    decide(home)
    (made,) = [decision for decision in stored(home) if decision.decision_id not in before]

    assert made.as_of == gap - timedelta(microseconds=1)


def test_the_code_that_decides_is_named_by_its_place() -> None:
    sources = evidence.deciding_sources()

    assert {f"{stage}/gates/{name}.py" for stage, name in CODE} <= sources.keys()
    assert not {"assets/gates/recording.py", "domain/gates/exposition.py"} & sources.keys()


def test_other_code_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "deciding_code", lambda: "other")

    rerun = again(home)

    assert rerun.differing == ("code",)
    assert rerun.has_same_figures
    assert not rerun.is_same


def test_a_changed_policy_opens_another_sequence_and_the_old_one_comes_out_again(home: Home) -> None:
    stricter = replace(USE_CASE, gate=replace(USE_CASE.gate, margin=0.5))
    decide(home, stricter)

    first, second = stored(home)
    sequences = home.lake.read_table(GATE_SEQUENCES, USE_CASE).sort_values("ordinal")
    assert sequences["sequence_id"].tolist() == [first.sequence_id, second.sequence_id]
    assert sequences["ordinal"].tolist() == [1, 2]
    assert (first.decision, second.decision) == (Decision.PROMOTE, Decision.WAIT)
    of_first = decision_named(home.platform, stricter, first.decision_id[:12])
    assert run_again(home.platform, stricter, of_first).is_same


def test_deciding_again_continues_the_sequence_and_spends_nothing(home: Home) -> None:
    decide(home, as_of=AS_OF - timedelta(days=1))
    decide(home)

    sequences = home.lake.read_table(GATE_SEQUENCES, USE_CASE)
    assert len(sequences) == 1
    assert len({decision.sequence_id for decision in stored(home)}) == 1
    assert len(stored(home)) == 2


def test_a_decision_that_comes_out_again_keeps_its_time_and_its_page(home: Home) -> None:
    before = decision_named(home.platform, USE_CASE, None)
    assert before.page == ""

    decide(home, has_page=True)
    paged = decision_named(home.platform, USE_CASE, None)
    decide(home)

    assert (home.layout.home / paged.page).is_file()
    assert paged == replace(before, page=paged.page)
    assert decision_named(home.platform, USE_CASE, None) == paged


def test_a_decision_that_comes_out_again_behind_another_is_the_newest_again(home: Home) -> None:
    first = decision_named(home.platform, USE_CASE, None)
    decide(home, replace(USE_CASE, gate=replace(USE_CASE.gate, margin=0.5)))
    second = decision_named(home.platform, USE_CASE, None)

    decide(home)

    found = decision_named(home.platform, USE_CASE, None)
    assert (found.decision, found.page) == (first.decision, first.page)
    assert found.decided_at > second.decided_at > first.decided_at
    assert again(home).is_same


def test_an_unknown_decision_is_told_with_those_there_are(home: Home) -> None:
    known = stored(home)[0].decision_id[:12]

    with pytest.raises(LakeError, match=f"no decision on shop with an id that starts with 'zz'.*{known}"):
        decision_named(home.platform, USE_CASE, "zz")


def test_a_lost_sequence_and_a_bundle_that_was_replaced_are_told(home: Home, layout: Layout) -> None:
    found = decision_named(home.platform, USE_CASE, None)
    path = next(Path(layout.tables / "gate_sequences").rglob("data.parquet"))
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(LakeError, match="is not in gate_sequences; bring the table back from a backup"):
        run_again(home.platform, USE_CASE, found)

    path.write_bytes(content)
    rows = home.lake.read_table(GATE_SEQUENCES, USE_CASE).assign(challenger_bundle="another")
    home.lake.append_rows(GATE_SEQUENCES, USE_CASE, rows)
    with pytest.raises(RegistryError, match=r"version 2 is bundle .* now, another was compared"):
        run_again(home.platform, USE_CASE, found)


def test_a_label_known_before_its_request_and_a_request_from_the_future_are_no_evidence(home: Home) -> None:
    """Clocks of the service and of whoever reports labels differ."""
    labels = home.lake.read_table(LABELS, USE_CASE)
    early = labels[labels["requested_at"] >= FIRST_DAY + timedelta(days=5)].head(30)
    for day, rows in labels.groupby(labels["known_at"].dt.date):
        home.lake.write_table(LABELS, USE_CASE, day, rows[~rows["subject_id"].isin(early["subject_id"])])
    home.lake.append_rows(LABELS, USE_CASE, early.assign(known_at=early["requested_at"] - timedelta(seconds=2)))
    ahead = home.lake.read_table(PREDICTIONS, USE_CASE).head(5)
    ahead = ahead.assign(request_id="ahead" + ahead["request_id"], requested_at=AS_OF + timedelta(minutes=3))
    home.lake.append_rows(PREDICTIONS, USE_CASE, ahead)
    before = stored(home)[0].maturity

    decide(home)

    after = next(d for d in stored(home) if d.fingerprints["labels"] != stored(home)[0].fingerprints["labels"]).maturity
    assert {before.n_labelled, after.n_labelled} == {720, 690}
    assert before.n_requests == after.n_requests == 720
