"""Every query of every dashboard, asked of a real Prometheus that scrapes everything the platform runs."""

from pathlib import Path

import pytest

from shadow_platform.contracts.metrics import METRICS
from shadow_platform_tests.bento.bundles import raising_bundle
from shadow_platform_tests.deploy.dashboards import Panel, panels, substituted, variables
from shadow_platform_tests.deploy.observed import Observed
from shadow_platform_tests.deploy.prometheus_server import DASHBOARDS
from shadow_platform_tests.deploy.promql import asked

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

FILES = sorted(DASHBOARDS.glob("*.json"))
PANELS = [panel for path in FILES for panel in panels(path)]
UNHEARD_OF = {
    "derivation_failures_total",  # nothing is derived at request time
    "online_store_errors_total",  # no feature view
    "online_cache_reads_total",
    "shadow_stream_rows_total",  # no streamed view
    "shadow_stream_failures_total",
    "explored_total",  # nothing is explored
    "log_transport_errors_total",  # nothing fails there
    "shadow_dropped_total",
    "feature_missing_total",  # requests bring every feature
}
"""Metrics whose first event does not happen here."""
HAPPENS_S = 400.0
"""The challengers yield to everything else that a machine has to do, and start again when that takes too long."""
SCRAPED_S = 90.0
"""A scrape that a busy machine misses ends a series for a moment."""


@pytest.fixture(scope="module")
def at_work(observed: Observed) -> Observed:
    """Everything has happened once: comparisons, a challenger and a champion that fail, an alert that fires."""
    for expression in (
        'use_case_challenger_outcome:shadow_predictions:rate10m{outcome="compared"} > 0',
        'shadow_errors_total{challenger="3"}',
        "path:disk_free:ratio",
        "job_status:dagster_runs:max",
    ):
        observed.wait_for(expression, HAPPENS_S)
    observed.deploy(raising_bundle(observed.layout.bundles))
    observed.wait_for('prediction_errors_total{reason="internal-error"}', HAPPENS_S)
    observed.wait_for('ALERTS{alertstate="firing"}', HAPPENS_S)
    return observed


def test_everything_else_of_the_catalogue_is_scraped(at_work: Observed) -> None:
    scraped = at_work.prometheus.names()

    assert {metric.name for metric in METRICS if not scraped & set(metric.series)} <= UNHEARD_OF


@pytest.mark.parametrize("panel", PANELS, ids=str)
def test_queries_parse_and_give_what_the_panel_shows(panel: Panel, at_work: Observed) -> None:
    scraped = at_work.prometheus.names()
    for expression in panel.expressions:
        for chosen in ({}, {"use_case": "shop|tiny", "challenger": "2|3", "job": "nightly|other"}):
            query = substituted(expression, chosen)
            if asked(expression).series <= scraped:
                at_work.wait_for(query, SCRAPED_S)
            else:
                at_work.prometheus.query(query)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_variables_offer_what_there_is(path: Path, at_work: Observed) -> None:
    offered = {
        name: at_work.prometheus.label_values(selector, label) for name, (selector, label) in variables(path).items()
    }

    expected = {"use_case": {"shop"}, "challenger": {"2", "3"}, "job": {"nightly"}}
    assert all(offered[name] >= expected[name] for name in offered)
    assert "use_case" in offered
