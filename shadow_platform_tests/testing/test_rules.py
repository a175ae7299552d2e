"""Each rule of the contract fails on a use case that breaks it; on the sound one all pass (use_cases/test_contract)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from shadow_platform.contracts.errors import RequestError
from shadow_platform.contracts.use_case import (
    Choice,
    ContextField,
    DecisionCosts,
    DemoPlan,
    DriftPolicy,
    Envelope,
    Estimator,
    Exploration,
    FairnessAttribute,
    FairnessPolicy,
    Feature,
    FeatureView,
    GatePolicy,
    ModelSpec,
    Parameter,
    Range,
    Streaming,
    Topic,
    TrainingPolicy,
    UseCase,
)
from shadow_platform.testing.contract import use_case_contract
from shadow_platform.testing.small_world import SmallWorld
from shadow_platform_tests.tiny import FIRST_DAY, N_DAYS, TinySource
from shadow_platform_tests.tiny import USE_CASE as TINY

DAY = timedelta(days=1)
CART, CHANNEL, *HISTORY = TINY.features
(VIEW,) = TINY.views
Rows = dict[str, list[dict[str, Any]]]


def features(**changes: Any) -> UseCase:
    return replace(TINY, features=(replace(CART, **changes), CHANNEL, *HISTORY))


def view(**changes: Any) -> UseCase:
    return replace(TINY, views=(replace(VIEW, **changes),))


def view_sql(old: str, new: str) -> UseCase:
    assert old in VIEW.sql
    return view(sql=VIEW.sql.replace(old, new))


def streamed(visits_7d: str = "sum(visits) OVER last_7d", stamp_us: int = 1) -> UseCase:
    """The view streamed, its rows stamped when something came."""
    sql = VIEW.sql.replace("(epoch_us(received_at) + 3599999999) // 3600000000", f"epoch_us(received_at) // {stamp_us}")
    sql = sql.replace("to_timestamp(hour_no * 3600)", f"make_timestamptz(hour_no * {stamp_us})")
    sql = sql.replace("sum(visits) OVER last_7d", visits_7d)
    events = tuple(replace(kind, topic=Topic(kind.name, "visitor_id")) for kind in TINY.events)
    return replace(view(sql=sql, streaming=Streaming()), events=events)


def requests_sql(old: str, new: str) -> UseCase:
    assert old in TINY.requests_sql
    return replace(TINY, requests_sql=TINY.requests_sql.replace(old, new))


def keyed(field: ContextField, column: str) -> UseCase:
    """Requests about an event that the field identifies, whose column the SQL gives so."""
    returned = requests_sql("cart_value, channel", f"{column} AS {field.name}, cart_value, channel")
    return replace(returned, envelope=Envelope("visit", "The visit", (field,), key=field.name))


def label_sql(old: str, new: str) -> UseCase:
    assert old in TINY.label.sql
    return replace(TINY, label=replace(TINY.label, sql=TINY.label.sql.replace(old, new)))


class Altered(TinySource):
    """The shop's events, with a change made to each day's rows."""

    def __init__(self, change: Callable[[date, Rows], Any]) -> None:
        self._change = change

    def received_on(self, day: date) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        rows = {kind: [dict(row) for row in given] for kind, given in super().received_on(day).items()}
        self._change(day, rows)
        return rows


def source(change: Callable[[date, Rows], Any]) -> UseCase:
    return replace(TINY, source=lambda: Altered(change))


def _each_visit(**values: Any) -> Callable[[date, Rows], Any]:
    return lambda _day, rows: [row.update(values) for row in rows["visits"]]


def _endless(day: date, rows: Rows) -> None:
    if day > FIRST_DAY + N_DAYS * DAY:
        rows["visits"].append({"visit_id": "late"})


_counter = iter(range(1_000_000))


def _another_cart_each_time(_day: date, rows: Rows) -> None:
    for row in rows["visits"]:
        row["cart_value"] = float(next(_counter) % 97)


def _build_by_luck(
    features: Sequence[Feature], n_levels: Mapping[str, int], _seed: int, /, **parameters: Parameter
) -> Estimator:
    return TINY.models[1].build(features, n_levels, next(_counter), **parameters)


def trees(**changes: Any) -> UseCase:
    return replace(TINY, models=(TINY.models[0], replace(TINY.models[1], **changes)))


LUCKY = (TINY.models[0], ModelSpec("lucky", _build_by_luck, "Another model each time"))
EMPTY_VIEW = FeatureView("empty", "visitor_id", DAY, DAY, VIEW.sql, "Nothing reads it")
BAND = FairnessPolicy((FairnessAttribute("cart", "cart_value"),))

DECLARED: list[tuple[str, UseCase]] = [
    ("names_are_unique", replace(TINY, features=(*TINY.features, CART))),
    ("names_are_unique", replace(TINY, views=(VIEW, EMPTY_VIEW))),
    ("names_are_unique", replace(TINY, models=TINY.models[:1])),
    ("everything_is_described", view(description=" ")),
    ("everything_is_described", replace(TINY, description="Buys?")),
    ("numbers_have_a_unit", features(unit="")),
    ("examples_are_a_valid_request", features(example="cheap")),
    ("examples_are_a_valid_request", features(example=None)),
    ("ranges_are_ranges", features(example=-1)),
    ("ranges_are_ranges", features(low=7, high=7)),
    ("training_gap_covers", replace(TINY, training=replace(TINY.training, gap=timedelta(hours=23)))),
    ("training_window_leaves", replace(TINY, training=TrainingPolicy(window=timedelta(days=17)))),
    ("refreshed_at_whole_shares", view(refresh=timedelta(hours=7))),
    ("refreshed_at_whole_shares", view(refresh=DAY, ttl=timedelta(hours=23))),
    ("policies_speak_of_features", replace(TINY, gate=GatePolicy(segments=("cart_value",)))),
    ("policies_speak_of_features", replace(TINY, gate=GatePolicy(cluster="week"))),
    ("policies_speak_of_features", replace(TINY, drift=DriftPolicy(segments=("cart_value",)))),
    ("policies_speak_of_features", replace(TINY, drift=DriftPolicy(segments=("unknown",)))),
    ("policies_speak_of_features", replace(TINY, fairness=BAND)),
    ("decisions_follow_from_the_costs", replace(TINY, costs=DecisionCosts(1.0, 3.0, "EUR"))),
    ("decisions_follow_from_the_costs", replace(TINY, exploration=Exploration(0.05))),
    ("demo_lies_within", replace(TINY, demo=DemoPlan(FIRST_DAY, FIRST_DAY + 9 * DAY))),
    ("demo_lies_within", replace(TINY, demo=DemoPlan(FIRST_DAY + 20 * DAY, FIRST_DAY + 21 * DAY))),
    ("demo_lies_within", replace(TINY, last_partition=FIRST_DAY + 40 * DAY)),
    ("every_model_is_reproducible", replace(TINY, models=LUCKY)),
    ("a_search_starts_from", trees(search={"max_depth": Range(4, 9, is_integer=True)})),
    ("a_search_starts_from", trees(search={"max_features": Choice(("sqrt", "log2"))})),
    ("a_search_starts_from", trees(iterations="max_iter")),
    ("both_ends_of_a_search", trees(search={"max_depth": Range(0, 4, is_integer=True)})),
    ("a_direction_is_declared_of_numbers", replace(TINY, features=(CART, replace(CHANNEL, monotone="increasing")))),
]
SOURCES: list[tuple[str, UseCase]] = [
    ("raw_rows_are_json", source(lambda day, rows: rows.pop("purchases"))),
    ("raw_rows_are_json", source(_each_visit(colour="red"))),
    ("raw_rows_are_json", source(_each_visit(received_at="2024-01-02T10:00:00Z"))),
    ("raw_rows_are_json", source(_each_visit(cart_value=float("nan")))),
    ("events_stage_accepts", source(_each_visit(cart_value="dear"))),
    ("source_is_deterministic", source(_another_cart_each_time)),
    ("source_is_deterministic", source(_endless)),
    ("every_kind_of_event_comes", source(_each_visit(cart_value=-1.0))),
    ("every_kind_of_event_comes", source(lambda day, rows: rows["purchases"].clear())),
    ("every_kind_of_event_comes", source(lambda day, rows: rows["visits"].extend(rows["visits"][:9]))),
]
QUERIES: list[tuple[str, UseCase]] = [
    ("requests_bring_every_key", requests_sql("cart_value, channel", "cart_value")),
    ("requests_bring_every_key", requests_sql("FROM visits", "FROM (FROM visits UNION ALL FROM visits)")),
    ("requests_bring_every_key", requests_sql("visitor_id, event_at", "'' AS visitor_id, event_at")),
    ("named_by_the_key", keyed(ContextField("event_id", "Id", "e-1"), "NULL::VARCHAR")),
    ("named_by_the_key", keyed(ContextField("came_at", "When", "2024-01-15T10:29:58Z", kind="timestamp"), "event_at")),
    ("request_features_lie", features(high=60)),
    ("request_features_lie", requests_sql("cart_value, channel", "NULL::DOUBLE AS cart_value, channel")),
    (
        "requests_do_not_change",
        requests_sql("cart_value, channel", "avg(cart_value) OVER () AS cart_value, channel"),
    ),
    ("view_rows_are_unique", view(refresh=timedelta(hours=2))),
    ("a_window_alone", view_sql("event_at > $start", "event_at > $start - INTERVAL 2 DAY")),
    ("view_rows_are_unique", view_sql("event_at AS created_at", "event_at - INTERVAL 1 HOUR AS created_at")),
    ("a_streamed_view", streamed(visits_7d="sum(visits) OVER ()")),
    ("a_streamed_view", streamed(stamp_us=3_600_000_000)),
    ("a_streamed_view", replace(streamed(), events=TINY.events)),
    ("view_features_lie", view_sql("sum(visits) OVER last_7d)", "-sum(visits) OVER last_7d)")),
    ("a_window_alone", view(lookback=timedelta(hours=5))),
    ("feature_rows_do_not_change", view_sql("(epoch_us(received_at) + 3599999999)", "epoch_us(received_at)")),
    ("every_feature_of_a_view", view(ttl=timedelta(microseconds=1))),
    ("every_feature_of_a_view", view_sql("purchases_7d\nFROM rolling", "NULL::DOUBLE AS purchases_7d\nFROM rolling")),
    ("labels_known_then", label_sql("known_at <= $as_of", "$as_of IS NOT NULL")),
    ("every_request_has_one_label", label_sql("LEFT JOIN purchases", "JOIN purchases")),
    ("every_request_has_one_label", label_sql("p.received_at IS NOT NULL AS label", "true AS label")),
    ("every_request_has_one_label", label_sql("INTERVAL 24 HOUR) AS known_at", "INTERVAL 0 HOUR) AS known_at")),
]


def test_a_view_stamped_when_something_came_may_be_streamed() -> None:
    hold(streamed(), "a_streamed_view")


def hold(use_case: UseCase, rule: str) -> None:
    """Run the one rule of the contract whose name holds ``rule``, for every parameter it has."""
    contract = use_case_contract(use_case)()
    (name,) = [name for name in dir(contract) if name.startswith("test_") and rule in name]
    test = getattr(contract, name)
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    given: list[dict[str, Any]] = [{mark.args[0]: value} for mark in marks for value in mark.args[1]] or [{}]
    if "world" in test.__code__.co_varnames:
        world = SmallWorld(use_case)
        given = [values | {"world": world} for values in given]
    for values in given:
        test(**values)


@pytest.mark.parametrize(("rule", "broken"), [*DECLARED, *SOURCES, *QUERIES])
def test_a_rule_finds_the_use_case_that_breaks_it(rule: str, broken: UseCase) -> None:
    hold(TINY, rule)
    with pytest.raises((AssertionError, RequestError, ValueError)):
        hold(broken, rule)
