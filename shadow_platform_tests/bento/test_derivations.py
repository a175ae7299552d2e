"""Derived features in the service: named in its documents and answers, logged and counted when they fail."""

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from bento.answering.features import LOGGER, RequestFeatures
from bento.answering.metrics import ServiceMetrics
from bento.api.schemas import answer_schema, example_answer, explanation_schema, request_examples, request_schema
from shadow_platform.contracts.records import FeatureValue
from shadow_platform.domain.serving import RequestContract, ServedFeatures
from shadow_platform_tests.deriving import DERIVATION, USE_CASE
from shadow_platform_tests.tiny import USE_CASE as TINY

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
BODY = {"visit_id": "v1", "cart_value": 12.0, "channel": "mail", "visits_7d": 4, "purchases_7d": 1}
DERIVED = {"cart_per_visit", "habit"}


def _fails_for_dear_carts(cart_value: float, **values: Any) -> dict[str, FeatureValue]:
    if cart_value > 100:
        raise ZeroDivisionError(f"cart of {cart_value}")
    return dict(DERIVATION.compute(cart_value=cart_value, **values))


FAILING = replace(USE_CASE, derivations=(replace(DERIVATION, compute=_fails_for_dear_carts),))


def serve(features: RequestFeatures, contract: RequestContract, *carts: float) -> list[ServedFeatures]:
    requests = [contract.parse({**BODY, "cart_value": cart}, NOW) for cart in carts]
    return asyncio.run(features.serve(requests, NOW))


def test_a_failing_derivation_is_counted_each_time_and_logged_once_and_the_others_are_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry, contract = CollectorRegistry(), RequestContract(FAILING)
    features = RequestFeatures(contract, None, ServiceMetrics(registry))
    with caplog.at_level(logging.ERROR, logger=LOGGER.name):
        found = [*serve(features, contract, 500.0, 12.0), *serve(features, contract, 700.0)]

    assert [served.values["cart_per_visit"] for served in found] == [None, 3.0, None]
    assert registry.get_sample_value("derivation_failures_total", {"derivation": "cart_beside_history"}) == 2
    told = [record.getMessage() for record in caplog.records if record.name == LOGGER.name]
    assert told == ["derivation cart_beside_history failed (ZeroDivisionError); its features are imputed"]


def _names(schema: dict[str, Any]) -> set[str]:
    return {name for part in schema["properties"].values() for name in part.get("properties", ())} | set(
        schema["properties"]
    )


def test_the_documents_ask_for_no_derived_feature_and_name_it_where_it_is_told() -> None:
    assert not _names(request_schema(USE_CASE)) & DERIVED
    assert _names(request_schema(USE_CASE)) == _names(request_schema(TINY))
    assert all(not DERIVED & example["value"].keys() for example in request_examples(USE_CASE).values())
    sources = answer_schema(USE_CASE)["properties"]["feature_sources"]
    assert sources["required"] == ["request", "online", "imputed", "derived"]
    assert example_answer(USE_CASE)["feature_sources"] == {"request": 2, "online": 2, "imputed": 0, "derived": 2}
    contribution = explanation_schema(USE_CASE)["properties"]["contributions"]["items"]["properties"]
    assert set(contribution["feature"]["enum"]) >= DERIVED
    assert "derived" in contribution["source"]["enum"]


def test_nothing_changes_for_a_use_case_without_derivations() -> None:
    assert answer_schema(TINY)["properties"]["feature_sources"]["required"] == ["request", "online", "imputed"]
    assert example_answer(TINY)["feature_sources"] == {"request": 2, "online": 2, "imputed": 0}
    contract = RequestContract(TINY)
    assert "derived" not in contract.assemble(contract.parse(BODY, NOW), {}, NOW).sources
