"""Alertmanager's routes: accepted by its own tool, and every alert leads to the right people once."""

import re
from typing import Any

import pytest
import yaml

from shadow_platform.contracts.alerts import Severity
from shadow_platform_tests.deploy.prometheus_server import ALERTMANAGER, run_tool
from shadow_platform_tests.deploy.test_prometheus_rules import alerts

RECEIVERS = {Severity.CRITICAL: "on-call", Severity.WARNING: "team", Severity.INFO: "nobody"}


@pytest.fixture
def configuration() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(ALERTMANAGER.read_text())
    return found


def test_alertmanager_accepts_the_configuration() -> None:
    assert "SUCCESS" in run_tool("amtool", "check-config", str(ALERTMANAGER))


@pytest.mark.parametrize("severity", Severity)
def test_a_severity_leads_to_its_receiver(severity: Severity) -> None:
    said = run_tool("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"severity={severity}")

    assert RECEIVERS[severity] in said.splitlines()


def test_inhibitions_name_alerts_that_exist(configuration: dict[str, Any]) -> None:
    known = {alert["alert"] for alert in alerts()}
    matchers = [
        matcher
        for rule in configuration["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
        if matcher.startswith("alertname")
    ]
    named = {name for matcher in matchers for name in re.findall(r"\w+", matcher.partition('"')[2])}

    assert len(named) > 5
    assert named <= known


def test_an_alert_with_two_severities_is_told_by_the_worse_one(configuration: dict[str, Any]) -> None:
    severities: dict[str, set[str]] = {}
    for alert in alerts():
        severities.setdefault(alert["alert"], set()).add(alert["labels"]["severity"])
    first = configuration["inhibit_rules"][0]

    assert {name for name, found in severities.items() if len(found) > 1} == {"ErrorBudgetBurn"}
    assert (first["source_matchers"], first["target_matchers"]) == (['severity = "critical"'], ['severity = "warning"'])
    assert first["equal"] == ["alertname", "use_case"]


def test_no_secret_stands_in_the_file(configuration: dict[str, Any]) -> None:
    told = [config for receiver in configuration["receivers"] for config in receiver.get("webhook_configs", [])]

    assert [config["http_config"]["authorization"] for config in told] == [
        {"credentials_file": "secrets/webhook_token"}
    ] * len(told)
    assert all("@" not in config["url"] for config in told)
