"""Who may talk to the cluster's pods: policies, the way in from outside, and what is scraped.

Belongs here: network policies, ingress, monitors and rules of the Prometheus operator. Does not belong here: pods
(test_kubernetes).
"""

import re
import subprocess
from typing import Any

import pytest
import yaml

from shadow_platform.settings import Settings
from shadow_platform_tests.deploy.manifests import (
    FOLDERS,
    K8S,
    PROMETHEUS,
    RULES,
    of_kind,
    overlay,
    pods,
    prometheus_rule,
    rendered,
    selects,
    settings,
)
from shadow_platform_tests.sources import REPOSITORY

each_overlay = pytest.mark.parametrize("name", FOLDERS)


@each_overlay
def test_every_pod_may_only_talk_where_a_policy_says_so(name: str) -> None:
    policies = {found["metadata"]["name"]: found["spec"] for found in of_kind(overlay(name), "NetworkPolicy")}
    everything = policies.pop("default-deny")
    assert everything == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for pod in pods(overlay(name)):
        chosen = {key: spec for key, spec in policies.items() if selects(spec["podSelector"], pod.labels)}
        ours = {"mlflow"} if pod.name == "Deployment/mlflow" else {"scraping", "servers"}
        assert {"names", *ours} <= chosen.keys(), pod.name
        let_in = {rule["port"] for s in chosen.values() for r in s.get("ingress", []) for rule in r["ports"]}
        assert {port["containerPort"] for c in pod.containers for port in c["ports"]} <= let_in, pod.name


def test_names_are_resolved_also_where_the_resolver_is_an_address_of_the_node() -> None:
    """NodeLocal DNSCache and Cloud DNS: both lie in the range that every other policy leaves out, and open one port."""
    policies = {found["metadata"]["name"]: found["spec"] for found in of_kind(rendered("base"), "NetworkPolicy")}
    (names,) = policies.pop("names")["egress"]
    resolvers = {peer["ipBlock"]["cidr"] for peer in names["to"] if "ipBlock" in peer}
    left_out = {
        left
        for spec in policies.values()
        for rule in spec.get("egress", [])
        for peer in rule["to"]
        for left in peer.get("ipBlock", {}).get("except", [])
    }

    assert resolvers == {"169.254.20.10/32", "169.254.169.254/32"}
    assert {port["port"] for port in names["ports"]} == {53}
    assert left_out == {"169.254.0.0/16"}


@each_overlay
def test_servers_in_the_settings_are_reachable_through_the_policies(name: str) -> None:
    objects = overlay(name)
    open_ports = {
        rule["port"]
        for spec in (found["spec"] for found in of_kind(objects, "NetworkPolicy"))
        for entry in spec.get("egress", [])
        for rule in entry["ports"]
    }
    told = settings(objects).values()
    named = {int(port) for value in told for port in re.findall(r"[a-z]:(\d{2,5})(?:/|$)", value)}

    assert named
    assert named <= open_ports


@each_overlay
def test_a_port_that_is_open_to_every_address_is_open_to_every_pod(name: str) -> None:
    """Cilium does not count pods among addresses: servers inside the cluster would be out of reach there."""
    objects = overlay(name)
    rules = {
        (found["metadata"]["name"], number): rule["to"]
        for found in of_kind(objects, "NetworkPolicy")
        for number, rule in enumerate(found["spec"].get("egress", []))
        if any(peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0" for peer in rule["to"])
    }

    assert {"servers", "platform-servers", "dagster"} <= {policy for policy, _ in rules}
    assert [rule for rule, peers in rules.items() if {"namespaceSelector": {}} not in peers] == []


@each_overlay
def test_the_way_in_is_encrypted_limited_and_leads_to_the_predictor_alone(name: str) -> None:
    objects = overlay(name)
    (ingress,) = of_kind(objects, "Ingress")
    annotations, spec = ingress["metadata"]["annotations"], ingress["spec"]
    nginx = "nginx.ingress.kubernetes.io"
    paths = [path for rule in spec["rules"] for path in rule["http"]["paths"]]

    assert {rule["host"] for rule in spec["rules"]} == {host for tls in spec["tls"] for host in tls["hosts"]}
    assert int(annotations[f"{nginx}/limit-rps"]) > 0
    assert annotations[f"{nginx}/cors-allow-origin"].startswith("https://")
    assert "CORS_ORIGINS" not in settings(objects)
    assert {(p["backend"]["service"]["name"], p["backend"]["service"]["port"]["name"]) for p in paths} == {
        ("predictor", "http")
    }
    assert {path["path"] for path in paths} == {"/predict", "/explain", "/model", "/health", "/openapi.json"}


def test_browsers_may_send_the_headers_that_the_service_takes() -> None:
    from bento.api.access import with_cors

    async def nobody(*_: object) -> None:
        """Application that answers nothing."""

    (ingress,) = of_kind(rendered("base"), "Ingress")
    allowed = ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/cors-allow-headers"].split(", ")

    application: Any = with_cors(Settings(cors_origins="*"), nobody)

    assert "Authorization" in allowed
    assert {header.lower() for header in allowed} <= set(application.allow_headers)


def test_the_body_limit_of_the_way_in_is_the_services() -> None:
    from bento.http import MAX_BODY_BYTES

    (ingress,) = of_kind(rendered("base"), "Ingress")

    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"] == "1m"
    assert MAX_BODY_BYTES == 1 << 20


@each_overlay
def test_scraping_has_the_jobs_and_labels_of_the_plain_configuration(name: str) -> None:
    objects = overlay(name)
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    wanted = {job["job_name"]: job.get("honor_labels", False) for job in configuration["scrape_configs"]}
    found: dict[str, Any] = {}
    for monitor in of_kind(objects, "ServiceMonitor"):
        chosen = [
            s for s in of_kind(objects, "Service") if selects(monitor["spec"]["selector"], s["metadata"]["labels"])
        ]
        if not chosen:
            del wanted[monitor["metadata"]["name"]]
            continue
        (service,) = chosen
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        found[service["metadata"]["labels"][monitor["spec"]["jobLabel"]]] = endpoint.get("honorLabels", False)
    (monitor,) = of_kind(objects, "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    scraped = [pod for pod in pods(objects) if selects(monitor["spec"]["selector"], pod.labels)]
    assert all(endpoint["port"] in {p["name"] for c in pod.containers for p in c["ports"]} for pod in scraped)
    assert len(scraped) == 2
    found[endpoint["relabelings"][0]["replacement"]] = endpoint.get("honorLabels", False)

    assert wanted == found
    assert ("shadow-stream" in found) == (name == "fraud"), "nothing else is missing"


def test_the_charts_prometheus_takes_every_kind_that_the_component_brings() -> None:
    values = yaml.safe_load((K8S / "examples" / "kube-prometheus-stack-values.yaml").read_text())
    kinds = {found["kind"] for found in overlay("staging") if found["apiVersion"].startswith("monitoring.coreos.com")}
    takes = {"ServiceMonitor": "serviceMonitor", "PodMonitor": "podMonitor", "PrometheusRule": "rule"}

    assert values["prometheus"]["prometheusSpec"] == {
        f"{takes[kind]}SelectorNilUsesHelmValues": False for kind in kinds
    }


def test_the_operators_rules_are_the_platforms() -> None:
    written = RULES.read_text(encoding="utf-8")
    page = re.findall(r"runbook_url: (\S+)#", written)[0]
    assert written == prometheus_rule(page), "run: make manifests"


def test_alerts_lead_to_where_the_runbook_is_published_once_that_is_said() -> None:
    page = "https://docs.example.com/operations.html"
    (spec,) = (found["spec"] for found in yaml.safe_load_all(prometheus_rule(page)))
    alerts = [rule for group in spec["groups"] for rule in group["rules"] if "alert" in rule]
    told = subprocess.run(
        ["make", "--dry-run", "--silent", "manifests", f"RUNBOOK_URL={page}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )

    assert {rule["annotations"]["runbook_url"] for rule in alerts} == {f"{page}#{a['alert'].lower()}" for a in alerts}
    assert f"RUNBOOK_URL='{page}'" in told.stdout
