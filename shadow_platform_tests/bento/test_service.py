"""The HTTP contract, against a real service with a real model."""

import json
import re
import threading
from contextlib import closing
from typing import Any
from uuid import UUID

import httpx
import jsonschema_rs
import pytest

from shadow_platform_tests.bento.callers import N_IN_FLIGHT, Callers
from shadow_platform_tests.bento.conftest import Shop
from shadow_platform_tests.bento.helpers import body_of, comparisons, predictions, wait_until

pytestmark = pytest.mark.processes

PROBLEM = "application/problem+json"
JSON = {"content-type": "application/json"}


def refused(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The problem document of a refusal, checked."""
    document: dict[str, Any] = response.json()
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    assert document["type"] == f"urn:shadow-platform:problem:{slug}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


def fields(document: dict[str, Any]) -> set[str]:
    return {error["field"] for error in document["errors"]}


@pytest.mark.parametrize("path", ["/predict", "/predict/single"])
def test_an_answer_is_complete_and_in_the_log_before_it_is_given(shop_service: Shop, path: str) -> None:
    answer = shop_service.client.post(path, json=body_of(1)).json()
    assert UUID(answer["request_id"]).version == 7
    assert answer["visit_id"] == "v-1"
    assert answer["purchase_prediction"] == (answer["purchase_probability"] >= 0.5)
    assert answer["risk_category"] in {"low", "medium", "high"}
    assert answer["model_version"] == "1"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", answer["timestamp"])
    assert answer["feature_sources"] == {"request": 2, "online": 0, "imputed": 0}
    assert answer["feature_age_s"] is None
    logged = [record for record in predictions(shop_service.layout) if record.request_id == answer["request_id"]]
    assert len(logged) == 1
    assert logged[0].probability == answer["purchase_probability"]
    assert logged[0].features == {"cart_value": 7.0, "channel": "shop"}
    assert (logged[0].variant, logged[0].propensity, logged[0].feature_age_s) == ("champion", 1.0, None)


def test_a_missing_feature_is_imputed_as_in_training(shop_service: Shop) -> None:
    missing = shop_service.client.post("/predict", json={"visit_id": "v", "channel": "shop"}).json()
    given = shop_service.client.post("/predict", json={"visit_id": "v", "channel": "shop", "cart_value": 50}).json()
    assert missing["purchase_probability"] == given["purchase_probability"]
    assert missing["feature_sources"] == {"request": 1, "online": 0, "imputed": 1}


def test_a_batch_is_answered_in_order_as_single_requests_are(shop_service: Shop) -> None:
    bodies = [body_of(index) for index in range(50)]
    answers = shop_service.client.post("/predict/batch", json=bodies).json()
    singles = [shop_service.client.post("/predict", json=body).json() for body in bodies[:5]]
    assert [answer["visit_id"] for answer in answers] == [body["visit_id"] for body in bodies]
    assert [answer["purchase_probability"] for answer in answers[:5]] == pytest.approx(
        [single["purchase_probability"] for single in singles], abs=1e-9
    )
    assert len({answer["request_id"] for answer in answers}) == 50


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"visit_id": "\\ud800"}', b"visit_id=1"])
def test_what_is_no_json_is_400(shop_service: Shop, body: bytes) -> None:
    refused(shop_service.client.post("/predict", content=body, headers=JSON), 400, "not-json")


@pytest.mark.parametrize("body", [b"[" * 100_000, b"[" * 40 + b"]" * 40, b'{"visit_id":' * 500 + b"1" + b"}" * 500])
def test_a_deeply_nested_body_is_400(shop_service: Shop, body: bytes) -> None:
    refused(shop_service.client.post("/predict", content=body, headers=JSON), 400, "nested-too-deep")


@pytest.mark.parametrize(
    "body",
    [
        '{"visit_id": "v", "cart_value": 1, "cart_value": 2}',
        '[{"visit_id": "v"}, {"visit_id": "w", "cart_value": 1, "cart_value": 1}]',
    ],
)
def test_a_field_given_twice_is_422_and_named(shop_service: Shop, body: str) -> None:
    path = "/predict/batch" if body.startswith("[") else "/predict"
    document = refused(shop_service.client.post(path, content=body, headers=JSON), 422, "invalid-request")
    assert fields(document) == {"cart_value"}


def test_a_body_over_the_limit_is_413_announced_or_not(shop_service: Shop) -> None:
    big = b'{"visit_id": "' + b"x" * (1 << 20) + b'"}'
    refused(shop_service.client.post("/predict", content=big, headers=JSON), 413, "body-too-large")
    chunks = (big[start : start + 65_536] for start in range(0, len(big), 65_536))
    with httpx.Client(base_url=shop_service.service.url, timeout=60.0) as client:
        refused(client.post("/predict", content=chunks, headers=JSON), 413, "body-too-large")


def test_every_field_error_is_reported_at_once_as_422(shop_service: Shop) -> None:
    body = {"visit_id": 5, "cart_value": -3, "channel": ["mail"], "colour": "red"}
    document = refused(shop_service.client.post("/predict", json=body), 422, "invalid-request")
    assert fields(document) == {"visit_id", "cart_value", "channel", "colour"}


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "1e39", "9" * 5000, "10000.1", '"7"', "true"])
def test_no_number_but_a_finite_one_in_range_is_answered(shop_service: Shop, number: str) -> None:
    body = f'{{"visit_id": "v", "cart_value": {number}}}'
    document = refused(shop_service.client.post("/predict", content=body, headers=JSON), 422, "invalid-request")
    assert fields(document) == {"cart_value"}


def test_one_bad_row_refuses_the_whole_batch_and_logs_nothing(shop_service: Shop) -> None:
    before = len(predictions(shop_service.layout))
    bodies: list[Any] = [body_of(0), {**body_of(1), "cart_value": "x"}, 7]
    document = refused(shop_service.client.post("/predict/batch", json=bodies), 422, "invalid-request")
    assert fields(document) == {"[1].cart_value", "[2]"}
    assert len(predictions(shop_service.layout)) == before


@pytest.mark.parametrize("body", [[], [body_of(0)] * 51, {}, None])
def test_a_batch_outside_its_bounds_is_422(shop_service: Shop, body: object) -> None:
    content = json.dumps(body)
    document = refused(
        shop_service.client.post("/predict/batch", content=content, headers=JSON), 422, "invalid-request"
    )
    assert fields(document) == {"body"}


def test_business_time_is_taken_from_its_header(shop_service: Shop) -> None:
    headers = {"X-As-Of": "2024-01-15T11:30:00+01:00"}
    answer = shop_service.client.post("/predict", json=body_of(2), headers=headers).json()
    assert answer["timestamp"] == "2024-01-15T10:30:00.000Z"


@pytest.mark.parametrize("text", ["tomorrow", "2999-01-01T00:00:00Z", "2024-01-15T10:30:00"])
def test_a_bad_or_future_business_time_is_422(shop_service: Shop, text: str) -> None:
    response = shop_service.client.post("/predict", json=body_of(2), headers={"X-As-Of": text})
    assert fields(refused(response, 422, "invalid-request")) == {"X-As-Of"}


def test_the_same_idempotency_key_gives_the_same_answer_and_one_log_row(shop_service: Shop) -> None:
    headers = {"Idempotency-Key": "key-1"}
    answers = [shop_service.client.post("/predict", json=body_of(3), headers=headers).content for _ in range(3)]
    assert len(set(answers)) == 1
    request_id = json.loads(answers[0])["request_id"]
    assert [record.request_id for record in predictions(shop_service.layout)].count(request_id) == 1
    other = shop_service.client.post("/predict", json=body_of(4), headers=headers)
    assert fields(refused(other, 422, "invalid-request")) == {"Idempotency-Key"}


def test_a_keyed_batch_is_logged_once(shop_service: Shop) -> None:
    headers, before = {"Idempotency-Key": "key-2"}, len(predictions(shop_service.layout))
    first, second = (
        shop_service.client.post("/predict/batch", json=[body_of(1), body_of(2)], headers=headers) for _ in range(2)
    )
    assert first.json() == second.json()
    assert len(predictions(shop_service.layout)) == before + 2


@pytest.mark.parametrize("key", ["", "x" * 257, "a\tb"])
def test_an_idempotency_key_is_short_and_printable(shop_service: Shop, key: str) -> None:
    response = shop_service.client.post("/predict", json=body_of(3), headers={"Idempotency-Key": key})
    assert fields(refused(response, 422, "invalid-request")) == {"Idempotency-Key"}


def test_more_requests_than_allowed_get_429_with_retry_after(shop_service: Shop) -> None:
    """Eight callers hold their bodies back; the ninth is refused, and the eight are answered when they go on."""
    with closing(Callers(shop_service.service.url)) as connections:
        held = connections.begun()
        response = shop_service.client.post("/predict", json=body_of(6))
        refused(response, 429, "too-many-requests")
        assert response.headers["retry-after"] == "1"
        assert len({caller.finish() for caller in held}) == N_IN_FLIGHT == 8
    assert shop_service.client.post("/predict", json=body_of(6)).status_code == 200


def test_unknown_routes_and_methods_get_problem_documents(shop_service: Shop) -> None:
    refused(shop_service.client.get("/nowhere"), 404, "not-found")
    response = shop_service.client.get("/predict")
    refused(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST, OPTIONS"
    refused(shop_service.client.post("/model"), 405, "method-not-allowed")


def test_every_route_says_which_methods_it_takes(shop_service: Shop) -> None:
    for path, allow in (("/predict", "POST, OPTIONS"), ("/model", "GET, HEAD, OPTIONS")):
        response = shop_service.client.options(path)
        assert (response.status_code, response.headers["allow"]) == (200, allow)


@pytest.mark.parametrize("path", ["/", "/model", "/metrics", "/docs", "/redoc", "/openapi.json"])
def test_head_is_get_without_its_body(shop_service: Shop, path: str) -> None:
    head, get = shop_service.client.head(path), shop_service.client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_a_service_says_what_it_is_and_what_it_has_loaded(shop_service: Shop) -> None:
    client = shop_service.client
    index = client.get("/").json()
    assert index["name"] == "shop"
    assert {client.get(link).status_code for link in index["links"].values()} <= {200, 405}
    assert client.get("/health").json()["status"] == "alive"
    assert client.get("/ready").json()["status"] == "ready"
    model = client.get("/model").json()
    assert (model["champion"]["version"], model["generation"]) == ("1", 1)
    assert [challenger["version"] for challenger in model["challengers"]] == ["2"]
    assert model["champion"]["fingerprints"] == {"code": "line 0.02 -1.0"}
    assert (shop_service.layout.bundles / model["champion"]["bundle_hash"]).is_dir()


def test_every_answer_is_compared_exactly_once_and_shown(shop_service: Shop) -> None:
    answer = shop_service.client.post("/predict", json=body_of(9)).json()
    ids = {record.request_id for record in predictions(shop_service.layout)}
    wait_until(lambda: len(comparisons(shop_service.layout, "2")) >= len(ids), "every prediction compared")
    records = comparisons(shop_service.layout, "2")
    assert {record.request_id for record in records} == ids
    assert len(records) == len(predictions(shop_service.layout))
    summary = shop_service.client.get("/shadow/comparison", params={"window": "1h"}).json()["challengers"][0]
    assert (summary["version"], summary["lag_records"], summary["sent"]) == ("2", 0, len(records))
    assert summary["sent"] == summary["compared"] + summary["failed"] + summary["dropped"]
    assert summary["probability_diff"]["p50"] > 0
    logs = shop_service.client.get("/shadow/logs", params={"limit": 1000}).json()["records"]
    shown = next(record for record in logs if record["request_id"] == answer["request_id"])
    assert shown["champion"]["prediction"]["purchase_probability"] == answer["purchase_probability"]
    assert shown["challenger"]["model_version"] == "2"
    assert set(shown["comparison"]) == {"probability_diff", "prediction_match"}


def test_what_requests_looked_like_is_shown_over_a_window(shop_service: Shop) -> None:
    client = shop_service.client
    before = client.get("/monitoring/stats").json()
    client.post("/predict", json={"visit_id": "v", "cart_value": 120})
    stats = client.get("/monitoring/stats", params={"window": "1h"}).json()
    assert stats["requests"] == before["requests"] + 1 == len(predictions(shop_service.layout))
    assert [(model["variant"], model["model_version"]) for model in stats["models"]] == [("champion", "1")]
    missing = [round(view["missing_feature_rates"]["channel"] * view["requests"]) for view in (before, stats)]
    assert missing[1] == missing[0] + 1
    old = sum(record.requested_at < "2025" for record in predictions(shop_service.layout))
    assert stats["label_maturity"]["matured_requests"] == old
    assert (stats["window_s"], stats["is_complete"]) == (3600.0, True)


@pytest.mark.parametrize(
    "path", ["/", "/health", "/ready", "/model", "/shadow/logs", "/shadow/comparison", "/monitoring/stats"]
)
def test_every_reading_route_answers_with_all_that_its_schema_lists(shop_service: Shop, path: str) -> None:
    document = shop_service.client.get("/openapi.json").json()
    content = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
    schema = {**content["schema"], "components": document["components"]}
    jsonschema_rs.validator_for(schema, validate_formats=True).validate(shop_service.client.get(path).json())


@pytest.mark.parametrize("path", ["/shadow/comparison", "/monitoring/stats"])
@pytest.mark.parametrize(
    "query", ["window=soon", "window=", "window=0h", "window=100d", "window=1h&colour=red", "colour=red"]
)
def test_a_bad_window_is_422(shop_service: Shop, path: str, query: str) -> None:
    refused(shop_service.client.get(f"{path}?{query}"), 422, "invalid-request")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=", "since=yesterday", "since="])
def test_a_bad_logs_query_is_422(shop_service: Shop, query: str) -> None:
    refused(shop_service.client.get(f"/shadow/logs?{query}"), 422, "invalid-request")


def test_the_metrics_count_what_happened(shop_service: Shop) -> None:
    client = shop_service.client

    def sample(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    answered, refusals = sample("predictions_total"), sample('prediction_errors_total{reason="invalid-request"')
    client.post("/predict", json=body_of(1))
    client.post("/predict", json={})
    assert sample("predictions_total") == answered + 1
    assert sample('prediction_errors_total{reason="invalid-request"') == refusals + 1
    wait_until(
        lambda: sample('shadow_predictions_total{challenger="2",outcome="compared"') == answered + 1,
        "shadow counted",
    )
    text = client.get("/metrics").text
    assert 'model_info{alias="champion",version="1"} 1.0' in text
    for name in ("prediction_latency_ms_bucket", "log_write_latency_ms_count", "shadow_lag_seconds", "feature_missing"):
        assert name in text


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_documents_work_without_internet_access(shop_service: Shop, page: str) -> None:
    document = shop_service.client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert set(document["components"]["schemas"]["Request"]["properties"]) == {"visit_id", "cart_value", "channel"}
    text = shop_service.client.get(page).text
    assets = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert assets
    assert "://" not in text
    assert all(shop_service.client.get(f"/{asset}").status_code == 200 for asset in assets)


def test_answers_do_not_depend_on_each_other(shop_service: Shop) -> None:
    """Eight threads at once get what one after the other gets."""
    expected = {
        i: shop_service.client.post("/predict", json=body_of(i)).json()["purchase_probability"] for i in range(8)
    }
    wrong: list[int] = []

    def ask(index: int) -> None:
        with httpx.Client(base_url=shop_service.service.url, timeout=60.0) as client:
            for _ in range(20):
                answer = client.post("/predict", json=body_of(index)).json()
                if answer.get("purchase_probability") != expected[index] or answer["visit_id"] != f"v-{index}":
                    wrong.append(index)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
