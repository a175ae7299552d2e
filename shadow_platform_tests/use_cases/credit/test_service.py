"""What callers send and get: the request and the answer of the published contract."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from shadow_platform.contracts.errors import RequestError
from shadow_platform.domain.serving import ModelOutput, RequestContract, build_answer, build_record
from shadow_platform_tests.use_cases.credit.loans import CREDIT

REQUEST = json.loads(
    '{"applicant_id": "APP_00123", "age": 25, "income": 50000, "credit_score": 750, "employment_years": 3}'
)
NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)


def test_the_published_request_is_valid_and_asks_the_store_for_the_rest() -> None:
    contract = RequestContract(CREDIT)
    request = contract.parse(REQUEST, NOW)
    assert request.subject_id == REQUEST["applicant_id"]
    assert request.features == {name: value for name, value in REQUEST.items() if name != "applicant_id"}
    assert contract.lookup_keys(request) == {"applicant_id": REQUEST["applicant_id"]}
    assert len(CREDIT.features) - len(request.features) == len(CREDIT.view_features("bureau_file"))


@pytest.mark.parametrize(("name", "value"), [("age", 17), ("credit_score", 851), ("income", -1), ("colour", "red")])
def test_what_no_applicant_can_state_is_refused(name: str, value: object) -> None:
    with pytest.raises(RequestError, match=name):
        RequestContract(CREDIT).parse({**REQUEST, name: value}, NOW)


@pytest.mark.parametrize(("probability", "is_rejected"), [(0.24, False), (0.25, True)])
def test_the_answer_has_the_published_fields_and_rejects_where_that_is_cheaper(
    probability: float, is_rejected: bool
) -> None:
    contract = RequestContract(CREDIT)
    request = contract.parse(REQUEST, NOW)
    at = "2024-01-15T10:30:00.000Z"
    record = build_record(
        CREDIT.name,
        "018d0c1f-6b5e-7c3a-9f60-0d4f3c7b2a11",
        request,
        contract.assemble(request, {}, NOW),
        ModelOutput(probability, CREDIT.answer.threshold, "3", "0" * 64),
        requested_at=at,
        logged_at=at,
        latency_ms=1.5,
    )
    assert build_answer(CREDIT, record) == {
        "prediction_id": record.request_id,
        "probability": probability,
        "prediction": is_rejected,
        "model_version": "3",
        "timestamp": at,
    }


def test_a_training_window_leaves_months_to_fit_on_after_every_wait_for_labels() -> None:
    policy, horizon = CREDIT.training, CREDIT.label.horizon
    waits = 3 * horizon + policy.calibration + policy.evaluation
    assert policy.window - waits == timedelta(days=120)
    assert CREDIT.demo is not None
    assert CREDIT.demo.serve_from - policy.window >= CREDIT.first_partition
    assert CREDIT.last_partition is not None
    assert CREDIT.last_partition >= CREDIT.demo.judged_at
