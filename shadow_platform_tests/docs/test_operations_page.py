"""The page on operations: every alert of Prometheus leads to a section that says what to do; no section is idle."""

import re
from pathlib import Path

import pytest
import yaml

from bento.http import TITLES
from shadow_platform.contracts import metrics
from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform_tests.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def rules(repository: Path) -> list[dict[str, dict[str, str]]]:
    document = yaml.safe_load((repository / "deploy" / "prometheus" / "rules" / "alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_every_alert_has_a_section_and_every_section_an_alert(repository: Path) -> None:
    assert list(SECTIONS) == list(dict.fromkeys(str(rule["alert"]) for rule in rules(repository)))


def test_every_alert_leads_to_its_section(repository: Path) -> None:
    for rule in rules(repository):
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{str(rule['alert']).lower()}"


@pytest.mark.parametrize("alert", SECTIONS)
def test_a_section_says_what_it_means_where_to_look_and_what_to_do_first(alert: str) -> None:
    parts = ("**Meaning.** ", "**Look here.** ", "**Do this.**\n\n1. ")

    assert [part for part in parts if part not in SECTIONS[alert]] == []


def test_failures_are_told_by_the_problems_that_the_service_counts() -> None:
    steps = SECTIONS["ErrorBudgetBurn"].partition("**Do this.**")[2]
    told = re.findall(r"^\d\. `([a-z-]+)`", steps, re.MULTILINE)

    assert len(told) == 4
    assert [reason for reason in told if reason not in TITLES] == []


@pytest.mark.parametrize(("page", "heading"), [("operations", "### ShadowLagHigh"), ("runbook", "## The shadow lags")])
def test_who_is_told_to_sample_a_challenger_is_told_what_it_costs(repository: Path, page: str, heading: str) -> None:
    text = (repository / "docs" / f"{page}.md").read_text(encoding="utf-8").partition(f"{heading}\n")[2]
    section = re.split(r"^##", text, maxsplit=1, flags=re.MULTILINE)[0]

    assert "--sample-rate" in section
    assert f"{GatePolicy().min_coverage * 100:g} % of the" in section
    assert "`shadow replay" in section


def test_the_metrics_and_severities_on_the_page_exist(repository: Path) -> None:
    queries = re.findall(r"`([^`]*(?:_total|_bucket|_seconds)[^`]*)`", PAGE)
    named = set(re.findall(r"\b[a-z_]+_(?:total|bucket|seconds)\b", " ".join(queries)))

    assert named
    assert named <= set(metrics.by_series())
    assert set(re.findall(r"^\| (critical|warning) \|", PAGE, re.MULTILINE)) == {
        rule["labels"]["severity"] for rule in rules(repository)
    }
