"""The OpenAPI document is complete, agreed upon, and says the same of every request as the validation."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bento.api.access import SCOPES
from bento.api.app import LINKS, Site, build_endpoints
from bento.api.openapi import openapi_document
from bento.api.pages import ASSETS, asset_reply, redoc_page, swagger_page
from bento.api.schemas import answer_schema, example_answer, example_request, problem_example, request_schema
from bento.http import TITLES
from shadow_platform.contracts.errors import RequestError
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving import RequestContract
from shadow_platform.settings import Settings
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.bento.openapi_snapshots import USE_CASES, snapshot_path, snapshot_text
from shadow_platform_tests.bento.shop import EXPLORING
from shadow_platform_tests.tiny import USE_CASE as TINY

NOW = datetime(2100, 1, 1, tzinfo=UTC)
"""No declared example lies in its future."""
every_use_case = pytest.mark.parametrize("use_case", USE_CASES, ids=lambda use_case: use_case.name)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """What a reference points at."""
    while "$ref" in part:
        found: Any = document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


@every_use_case
def test_the_document_is_the_one_agreed_upon(use_case: UseCase) -> None:
    """A change that is meant: ``python -m shadow_platform_tests.bento.openapi_snapshots``."""
    assert snapshot_text(use_case) == snapshot_path(use_case).read_text(encoding="utf-8")


@every_use_case
def test_every_route_of_the_service_is_documented(use_case: UseCase) -> None:
    endpoints = build_endpoints(use_case, Settings(), Site())
    document = openapi_document(use_case, 1000)
    assert set(document["paths"]) == set(endpoints) - set(ASSETS) == {"/", *LINKS}
    batch = document["paths"]["/predict/batch"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert batch["maxItems"] == 1000
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)


@every_use_case
def test_every_body_and_answer_has_a_schema_and_every_reference_an_end(use_case: UseCase) -> None:
    document = openapi_document(use_case, 1000)
    for _, operation in operations(document):
        for response in (resolved(document, part) for part in operation["responses"].values()):
            assert "X-Request-ID" in response["headers"]
            assert all(content["schema"] for content in response["content"].values())
    for reference in set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))):
        assert resolved(document, {"$ref": reference})
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


@every_use_case
def test_every_example_is_valid(use_case: UseCase) -> None:
    document = openapi_document(use_case, 1000)
    contract = RequestContract(use_case)
    for _, operation in operations(document):
        body = operation.get("requestBody", {"content": {}})
        for example in [e for c in body["content"].values() for e in c["examples"].values()]:
            requests = example["value"] if isinstance(example["value"], list) else [example["value"]]
            assert {contract.parse(request, NOW).subject_id for request in requests} == {use_case.subject_example}
    validate(document, "Answer", example_answer(use_case))
    for slug in problem_slugs(document):
        validate(document, "Problem", problem_example(slug, use_case))


@every_use_case
def test_an_answer_has_exactly_the_fields_of_its_schema(use_case: UseCase) -> None:
    schema = answer_schema(use_case)
    assert list(example_answer(use_case)) == list(schema["properties"]) == schema["required"]


def test_who_acts_on_an_answer_is_told_to_follow_the_action_and_why() -> None:
    action = answer_schema(EXPLORING)["properties"]["action"]
    assert action["enum"] == ["allow", "block"]
    assert "A random 25 % of the predictions that are true get allow all the same" in action["description"]
    unexplored = answer_schema(replace(EXPLORING, exploration=None))["properties"]["action"]
    assert unexplored["description"] == "What to do: block where purchase_prediction is true, else allow"


def validate(document: dict[str, Any], name: str, value: object) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema_rs.validator_for(schema, validate_formats=True).validate(value)


def problem_slugs(document: dict[str, Any]) -> set[str]:
    return {slug for name in document["components"]["responses"] for slug in name.split(".")}


def test_every_problem_is_documented_but_those_of_unknown_routes_and_methods() -> None:
    document = openapi_document(TINY, 1000)
    assert problem_slugs(document) == set(TITLES) - {"not-found", "method-not-allowed"}


def test_guarded_routes_name_their_scopes_only_while_tokens_are_in_force() -> None:
    document = openapi_document(TINY, 1000)
    for path, operation in operations(document):
        assert operation["security"] == [{"bearer": [scope]} for scope in SCOPES.get(path, ())]
        assert ({"401", "403"} <= set(operation["responses"])) == (path in SCOPES)
    unguarded = openapi_document(TINY, 1000, has_access=False)
    assert unguarded["components"]["securitySchemes"] == {}
    assert all(operation["security"] == [] for _, operation in operations(unguarded))


def test_no_token_is_in_the_document() -> None:
    settings = Settings(predict_tokens=SecretStr("a-token-for-predicting"), shadow_tokens=SecretStr("another-token-16"))
    assert "token-" not in json.dumps(openapi_document(TINY, settings.max_batch_size))


VALUES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.floats(-20_000, 20_000, allow_nan=False)
    | st.integers(-(10**40), 10**40)
    | st.text("abcé\u00a0\u200d🎈", max_size=3)
    | st.text(max_size=2)
    | st.lists(st.integers(), max_size=1)
)


@st.composite
def bodies(draw: st.DrawFn, use_case: UseCase) -> dict[str, Any]:
    """The complete example with nothing to three fields changed, added or left out, so that many are valid."""
    body = example_request(use_case, with_views=True)
    for _ in range(draw(st.integers(0, 3))):
        objects = [body, *(value for value in body.values() if isinstance(value, dict))]
        target = draw(st.sampled_from(objects))
        name = draw(st.sampled_from([*target, "other"]))
        if draw(st.booleans()):
            target[name] = draw(VALUES)
        else:
            target.pop(name, None)
    return body


@pytest.mark.parametrize("use_case", [TINY, load_use_case("fraud")], ids=lambda use_case: use_case.name)
def test_schema_and_validation_agree(use_case: UseCase) -> None:
    validator = jsonschema_rs.validator_for(request_schema(use_case), validate_formats=True)
    contract = RequestContract(use_case)
    seen: Counter[bool] = Counter()

    @given(bodies(use_case))
    def agree(body: dict[str, Any]) -> None:
        try:
            contract.parse(body, NOW)
            errors = []
        except RequestError as refusal:
            errors = refusal.errors
        beyond_schema = ("the user_id of the request", "in the future")
        known = [error for error in errors if not any(text in error["message"] for text in beyond_schema)]
        is_valid = validator.is_valid(body)
        assert is_valid == (not known), (known, *validator.iter_errors(body))
        seen[is_valid] += 1

    agree()
    assert set(seen) == {True, False}


@pytest.mark.parametrize("page", [swagger_page, redoc_page])
def test_a_page_names_only_files_that_are_served_and_hides_no_markup_in_its_title(page: Any) -> None:
    reply = page("<shop>")
    text = reply.body.decode()
    assert "&lt;shop&gt;" in text
    assert "://" not in text
    assets = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert {f"/{asset}" for asset in assets} <= set(ASSETS)
    assert all(asset_reply(f"/{asset}").body for asset in assets)


def test_a_page_may_load_nothing_from_elsewhere() -> None:
    policy = dict(swagger_page("shop").headers)[b"content-security-policy"].decode()
    assert policy.startswith("default-src 'self';")
    assert "http" not in policy
