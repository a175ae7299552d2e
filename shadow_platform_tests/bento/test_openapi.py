"""The OpenAPI document and the validation say the same of every request."""

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bento.app import Site, build_endpoints
from bento.openapi import docs_page, openapi_document, request_schema
from shadow_platform.contracts.errors import RequestError
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving import RequestContract
from shadow_platform.settings import Settings
from shadow_platform.use_cases import load_use_case, use_case_names
from shadow_platform_tests.tiny import USE_CASE as TINY

USE_CASES = [TINY, *map(load_use_case, use_case_names())]


@pytest.mark.parametrize("use_case", USE_CASES, ids=lambda use_case: use_case.name)
def test_every_route_of_the_service_is_documented(use_case: UseCase) -> None:
    endpoints = build_endpoints(use_case, Settings(), Site())
    document = openapi_document(use_case, 1000)
    assert set(document["paths"]) == set(endpoints) - {"/docs", "/openapi.json"}
    assert (
        document["paths"]["/predict/batch"]["post"]["requestBody"]["content"]["application/json"]["schema"]["maxItems"]
        == 1000
    )
    json.dumps(document)


@pytest.mark.parametrize("use_case", USE_CASES, ids=lambda use_case: use_case.name)
def test_the_documents_examples_are_valid_requests(use_case: UseCase) -> None:
    properties = request_schema(use_case)["properties"]
    example = {name: schema["examples"][0] for name, schema in properties.items() if "examples" in schema}
    assert RequestContract(use_case).parse(example).subject_id == use_case.subject_example


VALUES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.floats(-20_000, 20_000, allow_nan=False)
    | st.text("abc", max_size=3)
    | st.lists(st.integers(), max_size=1)
)
NAMES = st.sampled_from([*request_schema(TINY)["properties"], "other"])


@given(st.dictionaries(NAMES, VALUES))
def test_schema_and_validation_agree(body: dict[str, Any]) -> None:
    is_valid = jsonschema.Draft202012Validator(request_schema(TINY)).is_valid(body)
    try:
        RequestContract(TINY).parse(body)
        is_taken = True
    except RequestError:
        is_taken = False
    assert is_valid == is_taken


def test_the_page_works_without_swagger() -> None:
    page = docs_page("<shop>", has_swagger=False).decode()
    assert "&lt;shop&gt;" in page
    assert "openapi.json" in page
    assert "src=" not in page
