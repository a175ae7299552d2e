"""Guarantees of a lineage: everything a version comes from and led to is in it, and what is not known is said."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.versions import LineageNode, RunRecord, ServiceRecord
from shadow_platform.domain.versions import lineage
from shadow_platform.domain.versions.lineage import ranges
from shadow_platform_tests.versions import AT, make_details

RUN = RunRecord(
    run_id="run1",
    status="FINISHED",
    started_at=AT,
    ended_at=AT,
    tags={"dagster_run_id": "d1", "git_commit": "abc", "git_is_dirty": "false"},
)
TRANSITION = {
    "alias": "champion",
    "from_version": None,
    "to_version": "1",
    "transitioned_at": AT.isoformat(),
    "actor": "gate",
    "reason": "better",
    "evidence_id": "e1",
}
DECISIONS = [
    {
        "champion_version": champion,
        "challenger_version": challenger,
        "decision": decision,
        "as_of": AT,
        "reason": "why",
        "decision_id": decision,
    }
    for champion, challenger, decision in (("0", "1", "promote"), ("1", "2", "wait"))
]
SERVICE = [ServiceRecord(variant="champion", n_predictions=7, n_days=2, first_at=AT, last_at=AT)]


def find(tree: LineageNode, kind: str) -> list[LineageNode]:
    inner = [found for child in tree.children for found in find(child, kind)]
    return [tree, *inner] if tree.kind == kind else inner


@given(st.sets(st.dates(date(2024, 1, 1), date(2024, 4, 1))))
def test_ranges_of_days_hold_each_day_once_and_no_other(days):
    told: set[date] = set()
    for text in ranges(map(str, days)):
        first, _, last = text.partition(" to ")
        start, end = date.fromisoformat(first), date.fromisoformat(last or first)
        run = {start + timedelta(days=n) for n in range((end - start).days + 1)}
        assert not run & told
        assert {start - timedelta(days=1), end + timedelta(days=1)} & days == set()
        told |= run
    assert told == days


def test_keys_that_are_no_days_stay_as_they_are():
    assert ranges(["2024-01-01", "all", "2024-01-02"]) == ["all", "2024-01-01 to 2024-01-02"]


def test_a_version_is_followed_back_to_the_partitions_and_the_code():
    tree = lineage(make_details("1"), RUN, [TRANSITION], DECISIONS, SERVICE)
    (run,) = find(tree, "run")
    assert (run.name, run.facts["status"], run.facts["dagster_run_id"]) == ("run1", "FINISHED", "d1")
    (code,) = find(tree, "code")
    assert (code.name, code.facts) == ("abc", {"git_is_dirty": "false"})
    events, definitions = find(tree, "asset")
    assert events.facts == {
        "partitions": 9,
        "range": "2024-01-01 to 2024-01-04, 2024-01-06 to 2024-01-10",
        "code versions": "2",
    }
    assert definitions.facts == {"code versions": "not recorded"}


def test_a_version_is_followed_on_to_what_it_led_to():
    tree = lineage(make_details("1"), RUN, [TRANSITION], DECISIONS, SERVICE)
    (transition,) = find(tree, "transition")
    assert transition.name == "champion: none to 1"
    assert transition.facts["evidence"] == "e1"
    (decisions,) = find(tree, "decisions")
    assert decisions.facts == {"as challenger": 1, "as champion": 1}
    assert [decision.name for decision in find(tree, "decision")] == ["promote"]
    (answers,) = find(tree, "answers")
    assert (answers.name, answers.facts["days"]) == ("7 as champion", 2)


def test_what_is_not_known_is_said():
    details = make_details("1", has_card=False).model_copy(update={"frame": None})
    tree = lineage(details, None, [], [], [])
    assert find(tree, "run")[0].facts["status"] == "deleted, or not in MLflow"
    assert str(find(tree, "frame")[0].facts["record"]).startswith("none")
    assert str(find(tree, "bundle")[0].facts["card"]).startswith("none")
    assert find(tree, "code")[0].name == "of no recorded commit"
    assert find(tree, "service")[0].name == "0 predictions answered"
