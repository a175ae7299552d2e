"""What the pages of docs/use-cases show is what the service takes and gives, and their tables are tables."""

import json
import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from bento.api.openapi import openapi_document
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving import RequestContract, risk_category
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.sources import REPOSITORY

PAGES = sorted((REPOSITORY / "docs" / "use-cases").glob("*.md"))
LATER = datetime(2025, 1, 1, tzinfo=UTC)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def shown(page: Path) -> tuple[UseCase, Any, Any]:
    """The use case, and the request and the answer that its page shows."""
    request, answer = map(json.loads, re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
    return load_use_case(page.stem), request, answer


@each_page
def test_the_request_shown_is_taken(page: Path) -> None:
    use_case, request, _ = shown(page)

    parsed = RequestContract(use_case).parse(request, LATER)

    assert parsed.subject_id == request[use_case.subject]
    assert {feature.name for feature in use_case.request_features} <= parsed.features.keys()


@each_page
def test_the_answer_shown_is_one_of_the_contract(page: Path) -> None:
    use_case, request, answer = shown(page)
    components = openapi_document(use_case, 1000)["components"]
    schema = {"$ref": "#/components/schemas/Answer", "components": components}
    spec = use_case.answer

    found = jsonschema_rs.validator_for(schema, validate_formats=True).iter_errors(answer)

    assert [str(error) for error in found] == []
    assert answer[spec.prediction] == (answer[spec.probability] >= spec.threshold)
    if spec.risk_category:
        assert answer[spec.risk_category] == risk_category(answer[spec.probability], spec.risk_bands)
    if spec.feature_sources:
        n_given = len(RequestContract(use_case).parse(request, LATER).features)
        n_derived = sum(feature.derivation is not None for feature in use_case.features)
        assert answer["feature_sources"] == {
            "request": n_given,
            "online": len(use_case.features) - n_given - n_derived,
            "imputed": 0,
            **({"derived": n_derived} if n_derived else {}),
        }


@each_page
def test_every_table_begins_with_a_header(page: Path) -> None:
    lines = ["", *page.read_text(encoding="utf-8").splitlines(), ""]
    headed = [
        re.fullmatch(r"\|(:?-+:?\|)+", after) is not None
        for (before, line), after in zip(pairwise(lines), lines[2:], strict=False)
        if line.startswith("|") and not before.startswith("|")
    ]

    assert len(headed) >= 3
    assert all(headed)
