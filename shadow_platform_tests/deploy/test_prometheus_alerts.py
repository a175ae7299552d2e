"""What goes wrong in a real service becomes an alert at a real receiver, and ends there when it is over."""

from typing import Any

import pytest

from shadow_platform_tests.bento.bundles import line_bundle, raising_bundle
from shadow_platform_tests.bento.helpers import wait_until
from shadow_platform_tests.deploy.observed import Observed
from shadow_platform_tests.processes import free_port

pytestmark = [pytest.mark.processes, pytest.mark.timeout(1_200)]

TOLD_S = 240.0


def told(observed: Observed, name: str, use_case: str, status: str = "firing") -> dict[str, Any] | None:
    """The newest message on an alert that has a status, with its receiver."""
    for post in reversed(observed.inbox.posts):
        for alert in post["alerts"]:
            labels = alert["labels"]
            if (labels["alertname"], labels.get("use_case"), alert["status"]) == (name, use_case, status):
                return dict(alert) | {"receiver": post["receiver"]}
    return None


def wait_told(observed: Observed, name: str, use_case: str = "shop", status: str = "firing") -> dict[str, Any]:
    wait_until(lambda: told(observed, name, use_case, status) is not None, f"{name} is told as {status}", TOLD_S)
    found = told(observed, name, use_case, status)
    assert found is not None
    return found


def test_a_model_that_fails_requests_calls_whoever_is_on_call(observed: Observed) -> None:
    observed.deploy(raising_bundle(observed.layout.bundles))
    found = wait_told(observed, "ServiceErrorRateHigh")

    assert (found["receiver"], found["labels"]["severity"]) == ("on-call", "critical")
    assert found["annotations"]["summary"] == "shop: more than 1 % of the requests fail"
    assert "% of the requests of shop failed in the last 5 minutes" in found["annotations"]["description"]
    assert found["annotations"]["runbook_url"] == "docs/operations.md#serviceerrorratehigh"


def test_a_refused_deployment_is_told_and_a_good_one_ends_it(observed: Observed) -> None:
    observed.deploy("0" * 64)
    found = wait_told(observed, "ManifestRefused")

    assert (found["receiver"], found["labels"]["severity"]) == ("team", "warning")
    assert found["annotations"]["description"].startswith("1 workers of shop go on with the models before")

    observed.deploy(line_bundle(observed.layout.bundles))
    assert wait_told(observed, "ManifestRefused", status="resolved")["endsAt"]


def test_a_service_that_is_gone_is_one_alert_and_not_one_a_target(observed: Observed) -> None:
    gone = {"targets": [f"127.0.0.1:{free_port()}" for _ in range(2)], "labels": {"use_case": "gone"}}
    targets = dict(observed.targets)
    observed.prometheus.scrape(targets | {"shadow-service": [*targets["shadow-service"], gone]})

    found = wait_told(observed, "ServiceDown", "gone")
    states = observed.alertmanager.states
    wait_until(lambda: states("TargetDown", "gone") == {"suppressed"}, "the targets' alerts are held back", TOLD_S)

    assert (found["receiver"], found["annotations"]["summary"]) == (
        "on-call",
        "gone: no process of the service can be reached",
    )
    assert states("ServiceDown", "gone") == {"active"}
    observed.prometheus.scrape(targets)
    wait_told(observed, "ServiceDown", "gone", "resolved")
