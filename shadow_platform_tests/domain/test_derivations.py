"""Derived features: what serving and training make of one function, and what happens when it fails."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.errors import RequestError, UseCaseError
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform.contracts.use_case import Derivation, Feature, FeatureValue, UseCase
from shadow_platform.domain import training
from shadow_platform.domain.serving import ModelOutput, RequestContract, ServedFeatures, build_record
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.deriving import DERIVATION, USE_CASE

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
CONTRACT = RequestContract(USE_CASE)
FRAUD = load_use_case("fraud")
BODY = {"visit_id": "v1", "visitor_id": "visitor-01", "cart_value": 12.0, "channel": "mail"}
HISTORY: dict[str, FeatureValue] = {"visits_7d": 4.0, "purchases_7d": 1.0}
NUMBERS = st.none() | st.floats() | st.integers(-(10**400), 10**400)


def served(
    body: dict[str, Any], history: dict[str, FeatureValue] | None = None, use_case: UseCase = USE_CASE
) -> ServedFeatures:
    """What a request is served, its history being half an hour old."""
    contract = RequestContract(use_case)
    rows = {} if history is None else {"visitor_history": OnlineRow(history, NOW - timedelta(minutes=30))}
    return contract.assemble(contract.parse(body, NOW), rows, NOW)


def computing(compute: Any) -> UseCase:
    return replace(USE_CASE, derivations=(replace(DERIVATION, compute=compute),))


def frame_of(rows: pd.DataFrame, use_case: UseCase = USE_CASE) -> pd.DataFrame:
    """Training frame of rows with every feature that is not derived."""
    requests = rows.assign(subject_id=[f"s{place:04d}" for place in range(len(rows))], requested_at=NOW)
    labels = requests[["subject_id", "requested_at"]].assign(label=True, known_at=NOW)
    return training.assemble(requests, rows, labels, use_case.features, NOW, derivations=use_case.derivations)


def test_a_derived_feature_is_computed_from_request_and_store() -> None:
    found = served(BODY, HISTORY)

    assert found.values == {**BODY_FEATURES, **HISTORY, "cart_per_visit": 3.0, "habit": "rarely mail"}
    assert found.sources == {"request": 2, "online": 2, "imputed": 0, "derived": 2}
    assert (found.missing, found.problems) == ({}, {})


BODY_FEATURES = {"cart_value": 12.0, "channel": "mail"}


def test_it_is_computed_from_what_the_request_overrides() -> None:
    found = served({**BODY, "visits_7d": 2}, HISTORY)

    assert found.values["cart_per_visit"] == 6.0
    assert found.overridden == ["visits_7d"]


@pytest.mark.parametrize("name", ["cart_per_visit", "habit"])
@pytest.mark.parametrize("value", [1.0, "often mail", None])
def test_no_request_may_bring_it(name: str, value: object) -> None:
    with pytest.raises(RequestError) as caught:
        CONTRACT.parse({**BODY, name: value}, NOW)
    (error,) = caught.value.errors
    assert error["field"] == name
    assert error["message"].startswith("unknown field")
    assert name not in error["message"]


def test_no_event_of_a_request_may_bring_it() -> None:
    event = {"event_id": "e", "user_id": "u", "event_ts": "2024-01-15T10:29:58Z", "amount_z_30d": 1.0}
    with pytest.raises(RequestError, match=r"event.amount_z_30d: unknown field"):
        RequestContract(FRAUD).parse({"user_id": "u", "event": event}, NOW)


def test_one_that_cannot_be_computed_is_imputed_and_counted_by_its_derivation() -> None:
    found = served(BODY)

    assert (found.values["cart_per_visit"], found.values["habit"]) == (None, None)
    assert found.sources == {"request": 2, "online": 0, "imputed": 4, "derived": 0}
    assert found.missing == {"visitor_history": 2, "cart_beside_history": 2}
    assert found.problems == {}


def _raises(**_values: object) -> dict[str, FeatureValue]:
    raise ZeroDivisionError("float division by zero")


@pytest.mark.parametrize(
    ("compute", "problem"),
    [
        (_raises, "ZeroDivisionError: float division by zero"),
        (lambda **_: {"cart_per_visit": math.inf, "habit": None}, "cart_per_visit is inf; expected a finite number"),
        (lambda **_: {"cart_per_visit": 1e39, "habit": None}, "cart_per_visit is 1e+39; expected a finite number"),
        (lambda **_: {"cart_per_visit": "3", "habit": None}, "cart_per_visit is '3'; expected a finite number"),
        (lambda **_: {"cart_per_visit": None, "habit": 3}, "habit is 3; expected a string"),
        (lambda **_: {"cart_per_visit": 1.0}, "KeyError: 'habit'"),
        (lambda **_: {"cart_per_visit": 1.0, "habit": "x", "z": 1.0}, "returned ['cart_per_visit', 'habit', 'z']"),
        (lambda **_: None, "TypeError"),
        (lambda: {}, "TypeError"),
    ],
)
def test_a_derivation_that_fails_costs_its_own_features_and_is_told(compute: Any, problem: str) -> None:
    found = served(BODY, HISTORY, computing(compute))

    assert (found.values["cart_per_visit"], found.values["habit"]) == (None, None)
    assert found.sources == {"request": 2, "online": 2, "imputed": 2, "derived": 0}
    assert list(found.problems) == list(found.missing) == ["cart_beside_history"]
    assert problem in found.problems["cart_beside_history"]


def test_no_model_is_trained_on_what_a_failing_derivation_left_out() -> None:
    rows = pd.DataFrame({**BODY_FEATURES, **HISTORY}, index=[0])
    with pytest.raises(UseCaseError, match=r"'cart_beside_history' fails for {'cart_value': 12.0, .*ZeroDivisionError"):
        frame_of(rows, computing(_raises))


@given(cart=NUMBERS, channel=st.none() | st.text(), visits=NUMBERS)
def test_whatever_is_given_the_function_sees_floats_texts_and_none(
    cart: object, channel: object, visits: object
) -> None:
    seen: dict[str, object] = {}

    def compute(**values: object) -> dict[str, FeatureValue]:
        seen.update(values)
        return {"cart_per_visit": None, "habit": None}

    features = USE_CASE.derived_features(DERIVATION.name)
    values = {"cart_value": cart, "channel": channel, "visits_7d": visits}

    assert replace(DERIVATION, compute=compute).derive(features, values).problem is None
    assert seen.keys() == set(DERIVATION.inputs)
    assert all(value is None or (isinstance(value, float) and math.isfinite(value)) for value in _numbers(seen))
    assert seen["channel"] == channel


def _numbers(seen: dict[str, object]) -> list[object]:
    return [value for name, value in seen.items() if name != "channel"]


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "transaction_amount": st.none() | st.floats(0.01, 1e5) | st.integers(1, 100_000),
                "amount_mean_30d_usd": st.none() | st.floats(0, 1e6),
                "amount_std_30d_usd": st.none() | st.floats(0, 1e6),
                "country": st.sampled_from([None, "US", "DE", ""]),
                "device": st.sampled_from([None, "web", "ios"]),
                "usual_country_30d": st.sampled_from([None, "US", "DE"]),
                "usual_device_30d": st.sampled_from([None, "web"]),
            }
        ),
        min_size=1,
        max_size=20,
    )
)
def test_training_and_serving_compute_the_same_to_the_last_bit(rows: list[dict[str, Any]]) -> None:
    given_names = [feature.name for feature in FRAUD.features if feature.derivation is None]
    table = pd.DataFrame([{name: row.get(name) for name in given_names} for row in rows])
    frame = frame_of(table, FRAUD)

    for place, row in enumerate(rows):
        for derivation in FRAUD.derivations:
            derived, problem = derivation.derive(FRAUD.derived_features(derivation.name), row)
            assert problem is None
            for name, value in derived.items():
                trained = frame[name].iloc[place]
                assert trained == value or (value is None and pd.isna(trained))


def test_derived_columns_stand_in_the_order_of_the_features_and_have_the_types_of_their_kind() -> None:
    first = replace(USE_CASE, features=(*USE_CASE.features[-2:], *USE_CASE.features[:-2]))
    rows = pd.DataFrame({"cart_value": [12.0, None], "channel": ["mail", None], **HISTORY})
    frame = frame_of(rows, first)

    assert list(frame)[2:-2] == list(first.feature_names)
    assert frame["cart_per_visit"].dtype == "float64"
    assert frame["habit"].tolist() == ["rarely mail", None]
    assert frame["cart_per_visit"].isna().tolist() == [False, True]


def test_several_derivations_each_make_their_own() -> None:
    double = Derivation("double", "Twice the cart", ("cart_value",), lambda cart_value: {"cart_twice": 2 * cart_value})
    both = replace(
        USE_CASE,
        features=(*USE_CASE.features, Feature("cart_twice", "Twice", derivation="double")),
        derivations=(DERIVATION, double),
    )

    assert served(BODY, HISTORY, both).values["cart_twice"] == 24.0
    assert served(BODY, HISTORY, both).sources["derived"] == 3
    without_cart = served({name: BODY[name] for name in ("visit_id", "channel")}, HISTORY, both)
    assert set(without_cart.problems) == {"double"}
    assert without_cart.values["habit"] == "rarely mail"


def test_the_record_says_when_what_was_read_became_true_and_what_the_request_overrode() -> None:
    read = CONTRACT.parse({**BODY, "purchases_7d": 0.0}, NOW)
    row = OnlineRow(HISTORY, datetime(2024, 1, 15, 11, 0, 0, 7, tzinfo=timezone(timedelta(hours=1))))
    record = _recorded(read, CONTRACT.assemble(read, {"visitor_history": row}, NOW))

    assert record.feature_times == {"visitor_history": "2024-01-15T10:00:00.000007Z"}
    assert record.overridden == ["purchases_7d"]


@pytest.mark.parametrize(
    ("body", "row"),
    [
        ({**BODY, **HISTORY}, OnlineRow(HISTORY, NOW)),
        (BODY, OnlineRow(HISTORY, NOW + timedelta(microseconds=1))),
        (BODY, OnlineRow(HISTORY, NOW - timedelta(days=4))),
    ],
    ids=["all is overridden", "from the future", "too old"],
)
def test_a_view_that_gave_nothing_has_no_time(body: dict[str, Any], row: OnlineRow) -> None:
    request = CONTRACT.parse(body, NOW)

    assert _recorded(request, CONTRACT.assemble(request, {"visitor_history": row}, NOW)).feature_times == {}


def test_a_row_without_any_value_was_read_all_the_same() -> None:
    request = CONTRACT.parse(BODY, NOW)
    row = OnlineRow({"visits_7d": None, "purchases_7d": math.nan}, NOW - timedelta(hours=1))
    found = CONTRACT.assemble(request, {"visitor_history": row}, NOW)

    assert set(_recorded(request, found).feature_times) == {"visitor_history"}
    assert (found.sources["online"], found.age_s) == (0, None)


def _recorded(request: Any, found: ServedFeatures) -> Any:
    return build_record(
        "deriving", "id", request, found, ModelOutput(0.5, 0.5, "2", "hash"),
        requested_at="a", logged_at="b", latency_ms=1.5,
    )  # fmt: skip
