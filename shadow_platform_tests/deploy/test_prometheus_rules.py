"""Rules of Prometheus: valid, proved by cases that fire and cases that do not, and about metrics that exist."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from bento.http import TITLES
from shadow_platform.contracts.alerts import Severity
from shadow_platform.contracts.metrics import JOBS, PREDICTION_LATENCY, by_series
from shadow_platform.settings import Settings
from shadow_platform_tests.deploy.prometheus_server import DASHBOARDS, RULES, SCRAPED, run_tool
from shadow_platform_tests.deploy.promql import asked

CASES = sorted((RULES.parent / "tests").glob("*.yml"))
OF_PROMETHEUS = {"up": {"job", "instance", "use_case"}, "ALERTS": {"alertname", "alertstate", "severity", "use_case"}}
OF_TARGETS = {"job", "instance"}
CALLERS_FAULT_OR_ASIDE = {"explanation-unavailable"}
"""Refusals with a status of 500 or more that no answer waits for."""


@cache
def rules() -> tuple[dict[str, Any], ...]:
    groups = [group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]]
    return tuple(rule | {"group": group["name"]} for group in groups for rule in group["rules"])


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def records() -> dict[str, str]:
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def names_of(alert: dict[str, Any]) -> tuple[str, str, str]:
    return alert["alert"], alert["labels"]["severity"], alert["labels"].get("long_window", "")


each_alert = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: " ".join(filter(None, names_of(alert))))
each_rule = pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert", rule.get("record")))


def test_prometheus_accepts_the_configuration_and_its_rules() -> None:
    assert "SUCCESS" in run_tool("promtool", "check", "config", str(RULES.parent / "prometheus.yml"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_rules_give_what_their_cases_say(path: Path) -> None:
    assert "SUCCESS" in run_tool("promtool", "test", "rules", str(path))


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires, silent = set(), set()
    for path in CASES:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for test in case["promql_expr_test"]:
                name = re.search(r'ALERTS\{alertname="(\w+)", alertstate="firing"', test["expr"])
                window = re.search(r'long_window="(\w+)"', test["expr"])
                if name and test["exp_samples"]:
                    (severity,) = {re.findall(r'severity="(\w+)"', s["labels"])[0] for s in test["exp_samples"]}
                    fires.add((name[1], severity, window[1] if window else ""))
                elif name:
                    silent.add((name[1], window[1] if window else ""))

    assert fires == {names_of(alert) for alert in alerts()}
    assert silent == {(name, window) for name, _, window in map(names_of, alerts())}


def test_cases_evaluate_groups_in_the_order_of_what_they_need() -> None:
    groups = list(dict.fromkeys(rule["group"] for rule in rules()))
    recorded = [name for name in groups if any("record" in rule for rule in rules() if rule["group"] == name)]
    wanted = [*recorded, *(name for name in groups if name not in recorded)]

    assert {path.stem: yaml.safe_load(path.read_text())["group_eval_order"] for path in CASES} == {
        path.stem: wanted for path in CASES
    }


@each_alert
def test_an_alert_says_how_bad_it_is_what_goes_on_with_its_value_and_where_to_look(alert: dict[str, Any]) -> None:
    told = alert["annotations"]

    assert set(told) == {"summary", "description", "runbook_url"}
    assert alert["labels"]["severity"] in set(Severity)
    assert "$value" in told["description"] or "absent(" in alert["expr"]
    assert told["runbook_url"] == f"docs/operations.md#{alert['alert'].lower()}"


@each_rule
def test_a_rule_asks_for_metrics_and_labels_of_the_catalogue(rule: dict[str, Any]) -> None:
    found = asked(rule["expr"])
    known = by_series()

    assert found.series <= known.keys() | records().keys() | OF_PROMETHEUS.keys()
    assert [(name, label) for name, label in found.matched if label not in labels_of(name)] == []
    assert found.grouped <= {label for name in found.series for label in labels_of(name)}


@cache
def labels_of(name: str) -> frozenset[str]:
    """Labels that a series may have; what a rule records has those that it groups by."""
    if name in OF_PROMETHEUS:
        return frozenset(OF_PROMETHEUS[name])
    if name in records():
        inner = asked(records()[name])
        return inner.grouped or frozenset(label for series in inner.series for label in labels_of(series))
    metric = by_series()[name]
    of_service = {"use_case"} if metric.exposer in ("service", "shadow worker") else set()
    return frozenset({*metric.labels, *OF_TARGETS, *of_service, *({"le"} if name.endswith("_bucket") else ())})


def test_every_recorded_series_is_asked_for_by_an_alert_or_a_dashboard() -> None:
    dashboards = "".join(path.read_text() for path in DASHBOARDS.glob("*.json"))
    in_rules = {series for rule in rules() for series in asked(rule["expr"]).series}

    assert [name for name in records() if name not in in_rules and name not in dashboards] == []


def test_a_failure_is_what_the_service_could_not_answer() -> None:
    ours = {slug for slug, (status, _) in TITLES.items() if status >= 500 or status == 429} - CALLERS_FAULT_OR_ASIDE
    counted = {
        frozenset(reasons.split("|"))
        for expression in records().values()
        for reasons in re.findall(r'prediction_errors_total\{reason=~"([^"]*)"\}', expression)
    }

    assert counted == {frozenset(ours)}


def test_limits_are_the_defaults_of_the_settings() -> None:
    settings = Settings()
    by_name = {alert["alert"]: alert["expr"] for alert in alerts()}

    assert f'le="{settings.slo_p95_ms}"' in records()["use_case:prediction_latency_ms:slow_ratio_rate5m"]
    assert settings.slo_p95_ms in PREDICTION_LATENCY.buckets
    assert f"ratio_rate5m > {settings.slo_error_rate}\n" in by_name["ServiceErrorRateHigh"]


def test_every_process_that_exposes_metrics_has_a_job() -> None:
    jobs = yaml.safe_load((RULES.parent / "prometheus.yml").read_text())["scrape_configs"]

    assert {job["job_name"] for job in jobs} == {*JOBS.values(), *SCRAPED}
    for job in jobs:
        (files,) = job["file_sd_configs"]
        targets = yaml.safe_load((RULES.parent / files["files"][0]).read_text())
        assert all("use_case" in target.get("labels", {}) for target in targets if job["job_name"] == "shadow-service")
