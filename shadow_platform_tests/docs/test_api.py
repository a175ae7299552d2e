"""What docs/api.md shows is what the service takes and gives."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs

from bento.api.access import SCOPES
from bento.api.openapi import openapi_document
from bento.http import TITLES
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving import RequestContract, parse_as_of, risk_category
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
NESTED = load_use_case("fraud")
"""Its requests hold an event, and its answer says what to do."""


def blocks() -> list[Any]:
    """JSON blocks in the order of the page: an answer, a request with an envelope, its answer, a problem."""
    return [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


def errors(use_case: UseCase, schema: str, value: object) -> list[str]:
    document = openapi_document(use_case, 1000)
    found = jsonschema_rs.validator_for(
        {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}, validate_formats=True
    )
    return [str(error) for error in found.iter_errors(value)]


def test_the_request_shown_is_taken_as_of_the_time_shown() -> None:
    flights = load_use_case("flights")
    (header,) = re.findall(r"-H 'X-As-Of: ([^']+)'", PAGE)
    (body,) = re.findall(r"-d '(\{.*?\})'", PAGE, re.DOTALL)
    request = RequestContract(flights).parse(json.loads(body), parse_as_of(header, NOW, is_allowed=True))
    assert set(request.features) == {feature.name for feature in flights.request_features}
    assert set(request.entities) == {entity.join_key for entity in flights.entities}


def test_the_answer_shown_is_one_of_the_contract() -> None:
    answer, flights = blocks()[0], load_use_case("flights")
    assert errors(flights, "Answer", answer) == []
    assert sum(answer["feature_sources"].values()) == len(flights.features)


def test_the_envelope_shown_is_taken_and_its_answer_is_one_of_the_contract() -> None:
    body, answer = blocks()[1:3]
    request = RequestContract(NESTED).parse(body, NOW)
    assert set(request.features) == {feature.name for feature in NESTED.request_features}
    assert errors(NESTED, "Answer", answer) == []
    assert answer["user_id"] == request.subject_id
    assert sum(answer["feature_sources"].values()) == len(NESTED.features)
    assert answer["fraud_prediction"] == (answer["fraud_probability"] >= NESTED.answer.threshold)
    assert answer["risk_category"] == risk_category(answer["fraud_probability"], NESTED.answer.risk_bands)


def test_the_problem_shown_is_one_of_the_contract() -> None:
    assert errors(load_use_case("flights"), "Problem", blocks()[3]) == []


def test_every_route_and_scope_is_in_the_table() -> None:
    rows = re.findall(r"^\| (`(?:GET|POST) [^|]+)\|[^|]+\| ([^|]*)\|$", PAGE, re.MULTILINE)
    shown = {path: scope.strip() for routes, scope in rows for path in re.findall(r"`\w+ (/[a-z./]*)", routes)}
    scopes = {path: SCOPES.get(path, ()) for path in openapi_document(NESTED, 1000)["paths"]}
    assert shown == {
        path: "either" if len(accepted) == 2 else "".join(f"`{scope}`" for scope in accepted)
        for path, accepted in scopes.items()
    }


def test_every_status_of_a_problem_is_in_the_table() -> None:
    cells = re.findall(r"^\| ([0-9, ]+) \|", PAGE, re.MULTILINE)
    assert {int(status) for cell in cells for status in cell.split(",")} == {status for status, _ in TITLES.values()}
