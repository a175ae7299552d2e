"""What a request must be, where its features come from, how its answer reads."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.errors import RequestError
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.contracts.use_case import ActionSpec, UseCase
from shadow_platform.domain.serving import (
    ModelOutput,
    RequestContract,
    ServedFeatures,
    build_answer,
    build_record,
    parse_as_of,
    rfc3339,
    risk_category,
)
from shadow_platform.domain.serving.values import CLOCK_SKEW
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.tiny import USE_CASE

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
CONTRACT = RequestContract(USE_CASE)
NESTED = load_use_case("fraud")
"""Its requests hold an event."""
SERVED = ServedFeatures({}, {"request": 2, "online": 2, "imputed": 0}, 60.0, {})
GOOD: dict[str, Any] = {"visit_id": "v1", "visitor_id": "visitor-01", "cart_value": 12.5, "channel": "mail"}


def errors_of(body: object) -> dict[str, str]:
    with pytest.raises(RequestError) as caught:
        CONTRACT.parse(body, NOW)
    return {error["field"]: error["message"] for error in caught.value.errors}


def row(age: timedelta, **values: float | None) -> dict[str, OnlineRow]:
    return {"visitor_history": OnlineRow(values, NOW - age)}


def test_a_good_request_is_taken_apart() -> None:
    request = CONTRACT.parse(GOOD, NOW)
    assert (request.subject_id, request.entities) == ("v1", {"visitor_id": "visitor-01"})
    assert request.features == {"cart_value": 12.5, "channel": "mail"}


def test_every_field_error_is_reported_at_once() -> None:
    found = errors_of({"visit_id": 3, "cart_value": -1, "channel": True, "colour": "red", "visits_7d": "many"})
    assert set(found) == {"visit_id", "cart_value", "channel", "colour", "visits_7d"}
    assert found["colour"].startswith("unknown field; expected one of cart_value, channel")
    assert found["cart_value"] == "is -1; expected at least 0 and at most 10000 EUR"
    assert found["visits_7d"] == "is a string; expected a number"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "is nan; expected a finite number"),
        (math.inf, "is inf; expected a finite number"),
        (-math.inf, "is -inf; expected a finite number"),
        (10**400, "is beyond float32"),
        (1e39, "is beyond float32"),
        (10_000.5, "expected at least 0 and at most 10000 EUR"),
        (True, "is a boolean; expected a number"),
        ("7", "is a string; expected a number"),
        ([1], "is a list; expected a number"),
        ({}, "is an object; expected a number"),
    ],
)
def test_no_number_but_a_finite_one_in_range_is_taken(value: object, message: str) -> None:
    assert message in errors_of({**GOOD, "cart_value": value})["cart_value"]


@pytest.mark.parametrize("value", ["", "x" * 257, "a\nb", "a\x00", 5, ["mail"]])
def test_text_must_be_short_and_printable(value: object) -> None:
    assert set(errors_of({**GOOD, "channel": value, "visit_id": value})) == {"channel", "visit_id"}


@pytest.mark.parametrize("value", ["a\u00a0b", "👩\u200d🚀", "žluťoučký", "x" * 256, " "])
def test_text_of_any_script_is_taken(value: str) -> None:
    assert CONTRACT.parse({**GOOD, "visit_id": value}, NOW).subject_id == value


@pytest.mark.parametrize("body", [None, [], "text", 3, True])
def test_a_body_that_is_no_object_is_one_error(body: object) -> None:
    assert "expected an object" in errors_of(body)["body"]


def test_the_subject_is_required_and_null_means_missing() -> None:
    assert "required" in errors_of({"cart_value": 1.0})["visit_id"]
    assert "required" in errors_of({"visit_id": None})["visit_id"]
    request = CONTRACT.parse({"visit_id": "v", "cart_value": None, "visitor_id": None}, NOW)
    assert (request.features, request.entities) == ({}, {})


def test_one_bad_row_refuses_the_batch_by_index() -> None:
    with pytest.raises(RequestError) as caught:
        CONTRACT.parse_batch([GOOD, {**GOOD, "cart_value": "x"}, 5], 10, NOW)
    assert [error["field"] for error in caught.value.errors] == ["[1].cart_value", "[2]"]
    assert len(CONTRACT.parse_batch([GOOD, GOOD], 2, NOW)) == 2


@pytest.mark.parametrize(("body", "message"), [([], "holds 0"), ([GOOD] * 3, "holds 3"), ({}, "expected a list")])
def test_a_batch_is_a_list_within_bounds(body: object, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        CONTRACT.parse_batch(body, 2, NOW)


EVENT = {
    "event_id": "01HM5ZC9V7Q8R3N2K1J0G4F6E5",
    "user_id": "user-0042",
    "event_ts": "2024-01-15T10:29:58Z",
    "transaction_amount": 121.4,
    "country": "US",
}
PAYMENT: dict[str, Any] = {"user_id": "user-0042", "payments_24h": 5.0, "event": EVENT}


def payment_errors(**event: object) -> dict[str, str]:
    """Errors of a payment with these fields in its event."""
    with pytest.raises(RequestError) as caught:
        RequestContract(NESTED).parse({**PAYMENT, "event": {**EVENT, **event}}, NOW)
    return {error["field"]: error["message"] for error in caught.value.errors}


def test_an_envelope_holds_the_request_features_and_its_context_is_no_feature() -> None:
    request = RequestContract(NESTED).parse(PAYMENT, NOW)
    assert (request.subject_id, request.entities) == ("user-0042", {"user_id": "user-0042"})
    assert request.features == {"transaction_amount": 121.4, "country": "US", "payments_24h": 5.0}


@pytest.mark.parametrize("event", [None, [], "text", 3])
def test_an_envelope_is_required_and_an_object(event: object) -> None:
    for body in ({**PAYMENT, "event": event}, {"user_id": "u"}):
        with pytest.raises(RequestError, match=r"event: is .*; expected an object with the event"):
            RequestContract(NESTED).parse(body, NOW)


def test_every_error_within_an_envelope_is_named_by_its_path() -> None:
    contract = RequestContract(NESTED)
    bad = {"transaction_amount": -1, "colour": "red", "payments_24h": 1, "event_id": 7, "user_id": "user-0043"}
    with pytest.raises(RequestError) as caught:
        contract.parse_batch([PAYMENT, {**PAYMENT, "transaction_amount": 5, "event": bad}], 10, NOW)
    messages = {error["field"]: error["message"] for error in caught.value.errors}
    inner = {"transaction_amount", "colour", "payments_24h", "event_id", "user_id", "event_ts"}
    assert set(messages) == {"[1].transaction_amount", *(f"[1].event.{name}" for name in inner)}
    assert messages["[1].event.user_id"] == "is 'user-0043'; expected 'user-0042', the user_id of the request"
    assert messages["[1].event.event_ts"] == "required; When it was asked for"


def test_an_event_of_the_future_is_refused_beyond_the_skew_of_clocks() -> None:
    at = (NOW + CLOCK_SKEW).isoformat()
    assert RequestContract(NESTED).parse({**PAYMENT, "event": {**EVENT, "event_ts": at}}, NOW)
    later = (NOW + CLOCK_SKEW + timedelta(milliseconds=1)).isoformat()
    assert (
        "in the future; expected at most 2024-01-15T10:30:00.000Z" in payment_errors(event_ts=later)["event.event_ts"]
    )


@pytest.mark.parametrize("text", ["yesterday", "2024-01-15", "2024-01-15T10:29:58", "20240115T102958Z", "x" * 300])
def test_the_time_of_an_event_is_rfc_3339(text: str) -> None:
    assert set(payment_errors(event_ts=text)) == {"event.event_ts"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["visit_id", "visitor_id", "cart_value", "channel", "visits_7d", "purchases_7d", "other"])


@given(st.dictionaries(st.sampled_from([*PAYMENT, *EVENT]), JSON, max_size=7), st.booleans())
def test_any_event_is_either_taken_or_refused_by_field(event: dict[str, Any], is_complete: bool) -> None:
    contract = RequestContract(NESTED)
    body = {**PAYMENT, "event": {**EVENT, **event} if is_complete else event}
    try:
        request = contract.parse(body, NOW)
    except RequestError as caught:
        errors = caught.errors
    else:
        assert request.features.keys() <= set(NESTED.feature_names)
        return
    assert errors
    assert all(error["field"] and error["message"] for error in errors)


@given(st.dictionaries(FIELDS, JSON, max_size=7) | JSON)
def test_any_json_is_either_taken_or_refused_by_field(body: object) -> None:
    try:
        request = CONTRACT.parse(body, NOW)
    except RequestError as caught:
        errors = caught.errors
    else:
        served = CONTRACT.assemble(request, {}, NOW)
        assert all(v is None or isinstance(v, str) or math.isfinite(float(v)) for v in served.values.values())
        return
    assert errors
    assert all(error["field"] and error["message"] for error in errors)


def test_request_goes_before_store_and_store_before_imputation() -> None:
    request = CONTRACT.parse({**GOOD, "visits_7d": 9.0}, NOW)
    online = row(timedelta(hours=2), visits_7d=4.0, purchases_7d=1.0)
    served = CONTRACT.assemble(request, online, NOW)
    assert served.values == {"cart_value": 12.5, "channel": "mail", "visits_7d": 9.0, "purchases_7d": 1.0}
    assert served.sources == {"request": 3, "online": 1, "imputed": 0}
    assert (served.age_s, served.missing) == (7200.0, {})


@pytest.mark.parametrize(
    ("age", "is_used"),
    [
        (timedelta(days=3), True),
        (timedelta(days=3, microseconds=1), False),
        (timedelta(0), True),
        (timedelta(microseconds=-1), False),
    ],
)
def test_a_row_is_used_within_its_ttl_and_never_from_the_future(age: timedelta, is_used: bool) -> None:
    served = CONTRACT.assemble(CONTRACT.parse(GOOD, NOW), row(age, visits_7d=4.0, purchases_7d=None), NOW)
    assert served.sources["online"] == int(is_used)
    assert served.missing == {"visitor_history": 1 if is_used else 2}
    assert (served.age_s is None) == (not is_used)


def test_a_nan_in_the_store_is_imputed() -> None:
    served = CONTRACT.assemble(CONTRACT.parse(GOOD, NOW), row(timedelta(0), visits_7d=math.nan, purchases_7d=1.0), NOW)
    assert served.values["visits_7d"] is None
    assert served.sources == {"request": 2, "online": 1, "imputed": 1}


def test_only_views_with_a_missing_feature_are_looked_up() -> None:
    full = {**GOOD, "visits_7d": 1.0, "purchases_7d": 0.0}
    assert CONTRACT.lookup_keys(CONTRACT.parse(full, NOW)) == {}
    assert CONTRACT.lookup_keys(CONTRACT.parse(GOOD, NOW)) == {"visitor_id": "visitor-01"}
    assert CONTRACT.lookup_keys(CONTRACT.parse({"visit_id": "v"}, NOW)) == {}


def test_a_feature_only_a_request_brings_is_counted_as_such() -> None:
    served = CONTRACT.assemble(CONTRACT.parse({"visit_id": "v"}, NOW), {}, NOW)
    assert served.missing == {"request": 2, "visitor_history": 2}
    assert served.sources == {"request": 0, "online": 0, "imputed": 4}


def recorded(probability: float = 0.75, **fields: Any) -> PredictionRecord:
    """Record of a good request's answer."""
    return build_record(
        "tiny", "id", CONTRACT.parse(GOOD, NOW), SERVED, ModelOutput(probability, 0.5, "2", "hash"),
        requested_at="2024-01-15T10:30:00.000Z", logged_at="b", latency_ms=1.5, **fields,
    )  # fmt: skip


def answering(**changes: Any) -> UseCase:
    """The use case with another answer."""
    return replace(USE_CASE, answer=replace(USE_CASE.answer, **changes))


def test_the_answer_uses_the_use_cases_names() -> None:
    answer = build_answer(USE_CASE, recorded())
    assert list(answer) == [
        "request_id", "visit_id", "purchase_probability", "purchase_prediction", "risk_category", "model_version",
        "timestamp", "feature_sources", "feature_age_s",
    ]  # fmt: skip
    assert (answer["purchase_prediction"], answer["risk_category"]) == (True, "high")
    assert (answer["request_id"], answer["visit_id"], answer["timestamp"]) == ("id", "v1", "2024-01-15T10:30:00.000Z")
    assert (answer["feature_sources"], answer["feature_age_s"]) == (SERVED.sources, 60.0)


def test_an_answer_may_name_its_id_and_leave_out_the_risk_the_subject_and_the_sources() -> None:
    bare = answering(
        probability="p", prediction="y", risk_category=None, request_id="id_of_it", feature_sources=False, subject=False
    )
    assert list(build_answer(bare, recorded())) == ["id_of_it", "p", "y", "model_version", "timestamp"]


@pytest.mark.parametrize(
    ("probability", "is_explored", "action"), [(0.49, False, "allow"), (0.5, False, "block"), (0.5, True, "allow")]
)
def test_the_action_is_the_decision_unless_that_is_explored(probability: float, is_explored: bool, action: str) -> None:
    acting = answering(action=ActionSpec("action", "allow", "block"))
    answer = build_answer(acting, recorded(probability, is_explored=is_explored))
    assert (answer["action"], answer["purchase_prediction"]) == (action, probability >= 0.5)
    assert list(answer)[4:7] == ["risk_category", "action", "model_version"]


@pytest.mark.parametrize(("probability", "expected"), [(0.0, "low"), (0.3, "medium"), (0.7, "high"), (1.0, "high")])
def test_risk_bands_include_their_lower_end(probability: float, expected: str) -> None:
    assert risk_category(probability, (0.3, 0.7)) == expected


def test_the_record_holds_what_was_served() -> None:
    request = CONTRACT.parse(GOOD, NOW)
    served = CONTRACT.assemble(request, {}, NOW)
    record = build_record(
        "tiny", "id", request, served, ModelOutput(0.5, 0.5, "2", "hash"),
        requested_at="a", logged_at="b", latency_ms=1.5, is_explored=True, label_propensity=0.05,
    )  # fmt: skip
    assert (record.is_explored, record.label_propensity) == (True, 0.05)
    assert (record.prediction, record.features, record.variant, record.propensity) == (
        True,
        served.values,
        "champion",
        1.0,
    )
    assert (record.entities, record.subject_id) == ({"visitor_id": "visitor-01"}, "v1")


@pytest.mark.parametrize("text", ["2024-01-15T10:30:00Z", "2024-01-15T11:30:00+01:00", "2024-01-15 10:30:00+00:00"])
def test_business_time_is_read_with_its_zone(text: str) -> None:
    assert parse_as_of(text, NOW, is_allowed=True) == NOW


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2024-01-15T10:30:00",
        "2024-01-15",
        "2024-13-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "²024-01-15T10:30:00Z",
        "20240115T103000Z",
    ],
)
def test_a_malformed_business_time_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"X-As-Of: .*expected RFC 3339"):
        parse_as_of(text, NOW, is_allowed=True)


def test_business_time_is_refused_in_the_future_and_in_production() -> None:
    with pytest.raises(RequestError, match="in the future"):
        parse_as_of("2024-01-15T10:30:00.001Z", NOW, is_allowed=True)
    with pytest.raises(RequestError, match="refused in production"):
        parse_as_of("2024-01-15T10:30:00Z", NOW, is_allowed=False)


@given(st.datetimes(timezones=st.just(UTC)))
def test_timestamps_are_utc_with_milliseconds_and_sort_as_text(at: datetime) -> None:
    text = rfc3339(at)
    assert (len(text), text[-1]) == (24, "Z")
    assert timedelta(0) <= at - datetime.fromisoformat(text) < timedelta(milliseconds=1)
