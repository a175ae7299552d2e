"""Dashboards and their provisioning as files: what Grafana needs to load them, and what a reader needs to read them."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from shadow_platform.contracts.metrics import METRICS, by_series
from shadow_platform.settings import Settings
from shadow_platform_tests.deploy.dashboards import Panel, expressions, load, panels
from shadow_platform_tests.deploy.prometheus_server import DASHBOARDS, DEPLOY
from shadow_platform_tests.deploy.promql import asked
from shadow_platform_tests.deploy.test_prometheus_rules import OF_PROMETHEUS, labels_of, records

PROVISIONING = DEPLOY / "grafana" / "provisioning"
MONITORS = DEPLOY / "k8s" / "components" / "prometheus-operator" / "monitors.yaml"
WIDTH = 24
UNITS = {"none", "short", "percentunit", "ms", "s", "bytes", "reqps", "cps"}
FILES = sorted(DASHBOARDS.glob("*.json"))

each_dashboard = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@cache
def all_panels() -> tuple[Panel, ...]:
    return tuple(panel for path in FILES for panel in panels(path))


each_panel = pytest.mark.parametrize("panel", all_panels(), ids=str)


@each_dashboard
def test_a_dashboard_has_an_address_of_its_own_that_stays(path: Path) -> None:
    board = load(path)

    assert board["uid"].removeprefix("shadow-") == path.stem.removeprefix("shadow-")
    assert len([other for other in FILES if load(other)["uid"] == board["uid"]]) == 1
    assert len([other for other in FILES if load(other)["title"] == board["title"]]) == 1
    assert "id" not in board
    assert board["description"].endswith("?")
    assert "shadow-platform" in board["tags"]


@each_dashboard
def test_panels_have_ids_of_their_own_and_do_not_overlap(path: Path) -> None:
    found = load(path)["panels"]
    ids = [panel["id"] for panel in found]
    covered: dict[tuple[int, int], str] = {}
    for panel in found:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= WIDTH
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert cell not in covered, f"{panel['title']} lies over {covered[cell]}"
            covered[cell] = panel["title"]

    assert len(set(ids)) == len(ids)
    assert {y for _, y in covered} == set(range(max(y for _, y in covered) + 1)), "a gap between panels"


@each_panel
def test_a_panel_says_what_it_shows_in_which_unit_from_the_datasource_chosen(panel: Panel) -> None:
    document = panel.document

    assert len(document["description"]) > 30
    assert document["fieldConfig"]["defaults"]["unit"] in UNITS
    assert document["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    references = [target["refId"] for target in document["targets"]]
    assert len(set(references)) == len(references) > 0


@each_panel
def test_a_panel_asks_for_metrics_and_labels_of_the_catalogue(panel: Panel) -> None:
    for expression in panel.expressions:
        found = asked(expression)
        assert found.series <= by_series().keys() | records().keys() | OF_PROMETHEUS.keys()
        assert [(name, label) for name, label in found.matched if label not in labels_of(name)] == []
        assert found.grouped <= {label for name in found.series for label in labels_of(name)}


@each_panel
def test_a_legend_names_labels_that_its_query_gives(panel: Panel) -> None:
    for target in panel.document["targets"]:
        found = asked(target["expr"])
        given = found.grouped or {label for name in found.series for label in labels_of(name)}
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= given


@each_panel
def test_a_panel_uses_variables_that_its_dashboard_has(panel: Panel) -> None:
    board = load(panel.path)
    known = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval"}

    used = set(re.findall(r"\$\{?(\w+)", json.dumps(panel.document)))
    assert used <= known
    for variable in known - {"datasource", "__rate_interval"}:
        assert f"${variable}" in path_text(panel.path), f"variable {variable} changes nothing"


@cache
def path_text(path: Path) -> str:
    return path.read_text()


def test_every_metric_is_on_a_dashboard() -> None:
    shown = {name for path in FILES for expression in expressions(path) for name in asked(expression).series}
    through_rules = {name for record in shown & records().keys() for name in asked(records()[record]).series}
    seen = shown | through_rules | {n for r in through_rules & records().keys() for n in asked(records()[r]).series}

    assert [metric.name for metric in METRICS if not seen & set(metric.series)] == []


def test_limits_that_are_drawn_are_those_of_the_alerts_and_settings() -> None:
    (score,) = [panel for panel in all_panels() if panel.document["title"] == "Drift score over time"]
    (latency,) = [panel for panel in all_panels() if panel.document["title"] == "Latency"]

    assert limits(score) == [Settings().drift_threshold]
    assert limits(latency) == [Settings().slo_p95_ms]


def limits(panel: Panel) -> list[float]:
    steps = panel.document["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return [step["value"] for step in steps if step["value"] is not None]


def test_provisioning_names_the_datasource_and_the_folder_of_the_dashboards() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "shadow-platform.yml").read_text())["providers"]

    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "${PROMETHEUS_URL}", True)
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    assert provider["type"] == "file"


def test_a_rate_spans_four_scrapes_of_what_is_scraped_less_often_than_the_datasource_says() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    intervals = scraped()
    assert {metric.job for metric in METRICS} <= intervals.keys()
    short = [
        (panel.document["title"], name)
        for panel in all_panels()
        for target in panel.document["targets"]
        for name in asked(target["expr"]).series & by_series().keys()
        if "$__rate_interval" in target["expr"]
        and seconds(target.get("interval", source["jsonData"]["timeInterval"])) < intervals[by_series()[name].job]
    ]

    assert short == []


def scraped() -> dict[str, float]:
    """The longest interval at which a job is scraped, by Prometheus alone or by the cluster's operator."""
    plain = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    found = {job["job_name"]: seconds(plain["global"]["scrape_interval"]) for job in plain["scrape_configs"]}
    for monitor in yaml.safe_load_all(MONITORS.read_text()):
        spec = monitor["spec"]
        (endpoint,) = spec.get("endpoints") or spec["podMetricsEndpoints"]
        job = monitor["metadata"]["name"].replace("predictor", "shadow-service")
        found[job] = max(found[job], seconds(endpoint["interval"]))
    return found


def seconds(duration: str) -> float:
    return float(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


def test_a_variable_of_the_datasource_comes_first_and_queries_use_it() -> None:
    for path in FILES:
        first, *others = load(path)["templating"]["list"]
        assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
        assert all(is_query_variable(variable) for variable in others)


def is_query_variable(variable: dict[str, Any]) -> bool:
    return bool(
        variable["type"] == "query"
        and variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        and variable["definition"] == variable["query"]["query"]
        and (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".*")
    )


def test_the_page_has_every_dashboard_with_its_question_and_its_rows(repository: Path) -> None:
    page = (repository / "docs" / "dashboards.md").read_text()
    told = re.findall(r"^\| (.+) \| `(shadow-[\w-]+)` \| (.+) \| (.+) \|$", page, re.MULTILINE)
    rows = {path: [p["title"] for p in load(path)["panels"] if p["type"] == "row"] for path in FILES}

    assert sorted(told) == sorted(
        (load(path)["title"], load(path)["uid"], load(path)["description"], "; ".join(rows[path])) for path in FILES
    )
