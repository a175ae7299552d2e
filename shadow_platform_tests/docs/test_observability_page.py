"""docs/observability.md names the spans, fields and settings that there are."""

import json
import re
from pathlib import Path

import pytest

from shadow_platform.settings import Settings
from shadow_platform.telemetry.logs import FIELDS

OWN = {"timestamp", "level", "logger", "message", "process", "pid", "use_case", "stack"}


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "observability.md").read_text()


@pytest.fixture
def terms(page: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL)))


def test_every_field_of_a_json_line_is_explained(terms: set[str]) -> None:
    assert {*FIELDS, *OWN} - terms == set()


def test_the_example_is_a_line_with_known_fields(page: str) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)

    assert set(json.loads(example)) <= {*FIELDS, *OWN}


def test_the_settings_are_ones_that_there_are(page: str) -> None:
    named = re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE)

    assert len(named) == 4
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_every_span_is_in_the_table(repository: Path, terms: set[str]) -> None:
    code = "".join(
        (repository / path).read_text()
        for path in ("bento/answering/request_spans.py", "bento/shadowing/shadow_spans.py")
    )
    made = {*re.findall(r'Span\(\s*"([^"]+)"', code)}
    steps = set(re.findall(r'\.mark\("([^"]+)"\)', (repository / "bento" / "answering" / "predictor.py").read_text()))

    assert made == {"prediction", "score micro-batch", "compare prediction"}
    assert len(steps) == 4
    assert (made | steps) - terms == set()
