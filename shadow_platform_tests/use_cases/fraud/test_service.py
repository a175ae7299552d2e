"""What callers send and get: the request and the answer of the published contract."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shadow_platform.contracts.errors import RequestError
from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.domain.serving import ModelOutput, RequestContract, build_answer, build_record
from shadow_platform_tests.use_cases.fraud.payments import FRAUD

EVENT = json.loads(
    '{"event_id": "01HM5ZC9V7Q8R3N2K1J0G4F6E5", "user_id": "user-00042", "transaction_amount": 121.4, '
    '"country": "US", "device": "android", "event_ts": "2024-01-15T10:29:58Z"}'
)
REQUEST = {"user_id": "user-00042", "event": EVENT}
NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
AT = "2024-01-15T10:30:00.000Z"


def test_the_published_request_is_valid_and_asks_the_store_for_the_rest() -> None:
    contract = RequestContract(FRAUD)
    request = contract.parse(REQUEST, NOW)
    assert request.subject_id == "user-00042"
    assert request.features == {name: EVENT[name] for name in ("transaction_amount", "country", "device")}
    assert contract.lookup_keys(request) == {"user_id": "user-00042"}


def test_the_log_keeps_which_payment_an_answer_is_about_as_it_was_sent() -> None:
    context = {name: EVENT[name] for name in ("event_id", "user_id", "event_ts")}
    assert RequestContract(FRAUD).parse(REQUEST, NOW).context == context
    assert _record(0.004).context == context


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user_id", "user-00007"),
        ("transaction_amount", 0),
        ("event_ts", "2024-01-15T11:30:00Z"),
        ("event_id", None),
        ("colour", "red"),
    ],
)
def test_what_no_gateway_can_send_is_refused(name: str, value: object) -> None:
    with pytest.raises(RequestError, match=name):
        RequestContract(FRAUD).parse({**REQUEST, "event": {**EVENT, name: value}}, NOW)


def _record(probability: float, *, is_explored: bool = False) -> PredictionRecord:
    contract = RequestContract(FRAUD)
    request = contract.parse(REQUEST, NOW)
    return build_record(
        FRAUD.name,
        "018d0c1f-6b5e-7c3a-9f60-0d4f3c7b2a11",
        request,
        contract.assemble(request, {}, NOW),
        ModelOutput(probability, FRAUD.answer.threshold, "3", "0" * 64),
        requested_at=AT,
        logged_at=AT,
        latency_ms=1.5,
        is_explored=is_explored,
    )


def _answer(probability: float, *, is_explored: bool = False) -> dict[str, Any]:
    return build_answer(FRAUD, _record(probability, is_explored=is_explored))


def test_the_answer_has_the_published_fields() -> None:
    answer = _answer(0.004)
    answer.pop("feature_age_s")
    assert answer == {
        "request_id": "018d0c1f-6b5e-7c3a-9f60-0d4f3c7b2a11",
        "user_id": "user-00042",
        "fraud_probability": 0.004,
        "fraud_prediction": False,
        "risk_category": "low",
        "action": "allow",
        "model_version": "3",
        "timestamp": AT,
        "feature_sources": {"request": 3, "online": 0, "imputed": 23, "derived": 0},
    }


@pytest.mark.parametrize(
    ("share_of_threshold", "expected"),
    [(0.999, (False, "medium", "allow")), (1.0, (True, "high", "block"))],
)
def test_a_payment_is_blocked_from_the_probability_on_at_which_that_is_cheaper(
    share_of_threshold: float, expected: tuple[bool, str, str]
) -> None:
    assert FRAUD.costs is not None
    assert FRAUD.answer.threshold == FRAUD.costs.threshold
    answer = _answer(share_of_threshold * FRAUD.costs.threshold)
    assert (answer["fraud_prediction"], answer["risk_category"], answer["action"]) == expected


def test_an_explored_payment_is_allowed_though_it_is_predicted_to_be_fraud() -> None:
    answer = _answer(0.5, is_explored=True)
    assert (answer["fraud_prediction"], answer["action"]) == (True, "allow")


def test_a_training_window_leaves_months_to_fit_on_after_every_wait_for_labels() -> None:
    policy, horizon = FRAUD.training, FRAUD.label.horizon
    assert (policy.window - 3 * horizon - policy.calibration - policy.evaluation).days >= 80
    assert FRAUD.demo is not None
    assert FRAUD.last_partition is not None
    longest = max(view.lookback for view in FRAUD.views)
    assert (FRAUD.demo.serve_from - policy.window - FRAUD.first_partition).days >= 20
    assert longest.days <= 31
    assert FRAUD.demo.serve_until + horizon <= FRAUD.demo.judged_at <= FRAUD.last_partition
