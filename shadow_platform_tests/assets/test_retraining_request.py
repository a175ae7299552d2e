"""The request of a retraining: without reason nothing is trained; what was asked reaches the run and the version."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.training import build_training_assets
from shadow_platform.assets.training.request import build_retraining_request
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import DRIFT_VERDICTS
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.bento.shop import USE_CASE as SHOP
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE

REQUEST = "tiny__retraining_request"
END = datetime(2024, 2, 13, tzinfo=UTC)
TRAINED: list[str] = []


@dg.asset(key=["tiny", "training_frame"], deps=[["tiny", "retraining_request"]])
def training_frame() -> None:
    """What follows a request."""
    TRAINED.append("frame")


@pytest.fixture(autouse=True)
def nothing_trained() -> None:
    """No request was answered yet."""
    TRAINED.clear()


def judged(layout: Layout, number: int, outcome: str, score: float) -> None:
    """Let a drift verdict stand in the table; a higher number is a newer window."""
    row = dict.fromkeys(DRIFT_VERDICTS.column_names)
    row |= {"use_case": "tiny", "evaluation_id": f"e{number}", "scope": "daily", "outcome": outcome}
    row |= {"window_end": END + timedelta(days=number), "evaluated_at": END, "drift_score": score}
    Lake(layout).append_rows(DRIFT_VERDICTS, USE_CASE, [row])


def ask(
    layout: Layout, instance: dg.DagsterInstance, tags: dict[str, str] | None = None, **asked: Any
) -> dg.ExecuteInProcessResult:
    """A run of the request and of what follows it."""
    return dg.materialize(
        [build_retraining_request(USE_CASE), training_frame],
        instance=instance,
        resources={"platform": PlatformResource(shadow_home=str(layout.home))},
        run_config={"ops": {REQUEST: {"config": asked}}},
        tags=tags,
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance without files."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def told(instance: dg.DagsterInstance) -> str | None:
    """Why the newest run had nothing to do, as its tag says."""
    return instance.get_runs(limit=1)[0].tags.get("shadow/nothing_to_do")


def test_without_a_drift_verdict_a_run_by_hand_trains_nothing_and_says_so(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    assert ask(layout, instance).success
    assert TRAINED == []
    assert told(instance) == "nothing to do: there is no drift verdict yet; force_retrain trains all the same"


@pytest.mark.parametrize(
    ("outcome", "score", "threshold", "trains"),
    [
        ("pass", 0.3, 0.3, False),
        ("pass", 0.31, 0.3, True),
        ("pass", 0.31, 0.5, False),
        ("fail", 0.0, 0.3, True),
        ("insufficient", float("nan"), 0.0, False),
    ],
)
def test_a_run_by_hand_trains_if_the_verdict_failed_or_its_score_exceeds_the_threshold(
    layout: Layout, instance: dg.DagsterInstance, outcome: str, score: float, threshold: float, trains: bool
) -> None:
    judged(layout, 1, outcome, score)
    ask(layout, instance, drift_threshold=threshold)
    assert (["frame"] if trains else []) == TRAINED
    assert (told(instance) is None) == trains


@pytest.mark.parametrize(
    ("set_to", "asked", "trains"),
    [
        pytest.param(None, {}, True, id="declared"),
        pytest.param("0.6", {}, False, id="set"),
        pytest.param("0.6", {"drift_threshold": 0.3}, True, id="asked"),
    ],
)
def test_a_threshold_that_nobody_names_is_the_one_of_the_drift_verdict(
    layout: Layout,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    set_to: str | None,
    asked: dict[str, Any],
    trains: bool,
) -> None:
    judged(layout, 1, "pass", 0.4)
    if set_to:
        monkeypatch.setenv("DRIFT_THRESHOLD", set_to)
    ask(layout, instance, **asked)
    assert (["frame"] if trains else []) == TRAINED
    assert trains or "40% of the features drifted, threshold 60%" in str(told(instance))


def test_only_the_newest_verdict_counts(layout: Layout, instance: dg.DagsterInstance) -> None:
    judged(layout, 1, "fail", 1.0)
    judged(layout, 2, "pass", 0.25)
    ask(layout, instance)
    assert "until 2024-02-15 00:00 UTC, is pass with 25% of the features drifted, threshold 30%" in str(told(instance))


def test_a_failure_is_not_taken_back_by_a_newer_verdict_without_enough_evidence(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    judged(layout, 1, "fail", 0.0)
    judged(layout, 2, "insufficient", float("nan"))
    ask(layout, instance)
    assert TRAINED == ["frame"]


def test_verdicts_without_enough_evidence_give_no_reason_and_no_figures(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    judged(layout, 1, "insufficient", float("nan"))
    ask(layout, instance)
    assert told(instance) == (
        "nothing to do: no drift verdict had enough evidence yet; force_retrain trains all the same"
    )


def test_a_run_that_is_executed_again_and_trains_does_not_say_that_there_was_nothing_to_do(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    judged(layout, 1, "fail", 1.0)
    ask(layout, instance, tags={"shadow/nothing_to_do": "nothing to do", "shadow/holds": "version 3 existed"})
    assert TRAINED == ["frame"]
    tags = instance.get_runs(limit=1)[0].tags
    assert (tags["shadow/nothing_to_do"], tags["shadow/holds"]) == ("", "")


def test_force_trains_whatever_the_verdict_says(layout: Layout, instance: dg.DagsterInstance) -> None:
    judged(layout, 1, "pass", 0.0)
    ask(layout, instance, force_retrain=True, promote_challenger=False, environment="production")
    assert TRAINED == ["frame"]
    tags = instance.get_runs(limit=1)[0].tags
    assert (tags["shadow/promote"], tags["shadow/environment"]) == ("false", "production")


def test_the_launchpad_shows_every_parameter_with_its_default() -> None:
    from shadow_platform.definitions import build_definitions

    job = build_definitions([USE_CASE]).resolve_job_def("tiny_retrain")
    schema: Any = job.graph.node_named(REQUEST).definition.config_schema
    described = schema.as_field().config_type.fields
    assert {name: field.default_value for name, field in described.items()} == {
        "force_retrain": False,
        "promote_challenger": True,
        "drift_threshold": None,
        "environment": "staging",
    }


def test_the_version_bears_what_was_asked_and_later_runs_only_restrict_it_further(
    layout: Layout, instance: dg.DagsterInstance
) -> None:
    land_events(Lake(layout))

    def train(**asked: Any) -> tuple[tuple[str, str], str | None]:
        """What the version is tagged with, and what its run says of it."""
        dg.materialize(
            build_training_assets(SHOP),
            selection=[dg.AssetKey(["shop", n]) for n in ("retraining_request", "training_frame", "challenger_model")],
            instance=instance,
            resources={"platform": PlatformResource(shadow_home=str(layout.home))},
            run_config={"ops": {"shop__retraining_request": {"config": {"force_retrain": True, **asked}}}},
        )
        (version,) = PlatformResource(shadow_home=str(layout.home)).registry().versions("shop")
        holds = instance.get_runs(limit=1)[0].tags.get("shadow/holds")
        return (version.tags["shadow/promote"], version.tags["shadow/environment"]), holds

    asked = {"promote_challenger": False, "environment": "production"}
    assert train(**asked) == (("false", "production"), None)
    tags, holds = train()
    assert tags == ("false", "production")
    assert holds == (
        "version 1 existed before and, as was asked then, is not promoted by itself (`shadow promote 1` does) and must "
        "satisfy the approval rule of production"
    )


def land_events(lake: Lake) -> None:
    """Twenty-two days of visits and purchases."""
    source = SHOP.source()
    for offset in range(22):
        day = FIRST_DAY + timedelta(days=offset)
        for kind in SHOP.events:
            rows = pd.DataFrame(list(source.received_on(day)[kind.name]))[list(kind.schema.columns)]
            lake.write_events(SHOP, kind, day, kind.schema.validate(rows))
