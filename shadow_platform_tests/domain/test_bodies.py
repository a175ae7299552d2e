"""Recorded requests become bodies that the service takes: flat, or with the event in its envelope."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pandas as pd
import pytest

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import ContextField, Envelope, UseCase
from shadow_platform.domain.serving import RequestContract
from shadow_platform.domain.serving.bodies import request_bodies
from shadow_platform.testing.small_world import SmallWorld
from shadow_platform.testing.tables import accepted, received, requests_of
from shadow_platform.use_cases import load_use_case, use_case_names
from shadow_platform_tests.tiny import USE_CASE as TINY

AT = datetime(2024, 1, 15, 10, 30, 0, 123456, tzinfo=UTC)
VISIT = Envelope(
    "visit",
    "The visit",
    (
        ContextField("event_id", "Id of the visit", "e-1"),
        ContextField("visit_id", "Visit", "v-1"),
        ContextField("came_at", "When the visitor came", "2024-01-15T10:29:58Z", kind="timestamp"),
    ),
)
NESTED = replace(TINY, envelope=VISIT)


def requests(**columns: Any) -> pd.DataFrame:
    """Two recorded requests, the second without a channel, and further columns."""
    rows = {
        "subject_id": ["v-1", "v-2"],
        "visitor_id": ["visitor-01", "visitor-02"],
        "requested_at": pd.to_datetime([AT, AT + timedelta(seconds=1)]),
        "cart_value": [12.5, 20.0],
        "channel": ["mail", None],
        **columns,
    }
    return pd.DataFrame(rows)


def parsed(use_case: UseCase, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The bodies, each taken by the contract of the service at the time of its request."""
    bodies = [orjson.loads(body) for body in request_bodies(use_case, frame)]
    contract = RequestContract(use_case)
    for body, row in zip(bodies, frame.to_dict("records"), strict=True):
        request = contract.parse(body, row["requested_at"])
        known = {name for name, value in row.items() if not pd.isna(value)}
        assert request.subject_id == row["subject_id"]
        assert request.entities == {e.join_key: row[e.join_key] for e in use_case.entities}
        features = {feature.name for feature in use_case.request_features} & known
        assert request.features == {name: row[name] for name in features}
    return bodies


def test_a_flat_request_holds_what_is_known() -> None:
    assert parsed(TINY, requests()) == [
        {"visitor_id": "visitor-01", "visit_id": "v-1", "cart_value": 12.5, "channel": "mail"},
        {"visitor_id": "visitor-02", "visit_id": "v-2", "cart_value": 20.0},
    ]


def test_an_event_holds_its_features_and_its_context_and_keys_stay_outside() -> None:
    first, second = parsed(NESTED, requests(event_id=["e-1", "e-2"]))
    event = {"event_id": "e-1", "visit_id": "v-1", "came_at": AT.isoformat(), "cart_value": 12.5, "channel": "mail"}
    assert first == {"visitor_id": "visitor-01", "visit_id": "v-1", "visit": event}
    assert set(second["visit"]) == {"event_id", "visit_id", "came_at", "cart_value"}


def test_the_time_of_an_event_is_its_column_where_there_is_one() -> None:
    came_at = pd.to_datetime([AT - timedelta(seconds=5), AT])
    bodies = parsed(NESTED, requests(event_id=["e-1", "e-2"], came_at=came_at))
    assert [datetime.fromisoformat(body["visit"]["came_at"]) for body in bodies] == [AT - timedelta(seconds=5), AT]


def test_a_context_field_without_a_column_is_named() -> None:
    with pytest.raises(UseCaseError, match=r"requests_sql of tiny returns no column 'event_id', .* returns subject_id"):
        request_bodies(NESTED, requests())


def test_whole_numbers_and_features_that_are_keys_are_sent_as_such() -> None:
    both = replace(TINY, features=(*TINY.features, replace(TINY.features[1], name="visitor_id")))
    frame = requests().assign(cart_value=pd.Series([12, 20], dtype="int64"))
    assert [body["cart_value"] for body in parsed(both, frame)] == [12, 20]
    assert [body["visitor_id"] for body in parsed(replace(both, envelope=replace(VISIT, fields=())), frame)] == [
        "visitor-01",
        "visitor-02",
    ]


def test_a_value_that_json_does_not_know_is_refused() -> None:
    with pytest.raises(TypeError, match="complex"):
        request_bodies(TINY, requests(cart_value=[1j, 2j]))


def test_no_request_is_no_body() -> None:
    assert request_bodies(NESTED, requests(event_id=["e-1", "e-2"]).iloc[:0]) == []


SIMULATED = [use_case for use_case in map(load_use_case, use_case_names()) if use_case.simulation]


@pytest.mark.parametrize("use_case", [TINY, *SIMULATED], ids=lambda use_case: use_case.name)
def test_what_a_use_case_records_is_a_request_that_its_service_takes(use_case: UseCase) -> None:
    world = SmallWorld(use_case, n_entities=200)
    start, end = world.start + timedelta(days=1), world.start + timedelta(days=8)
    rows = received(world.source, use_case.events, world.days[:9])
    tables = {kind.name: accepted(kind, rows[kind.name]) for kind in use_case.events}
    assert parsed(use_case, requests_of(use_case, tables, start, end))
