"""Metrics of processes that are no HTTP service: as the catalogue says, on a port of their own, gone with them."""

import signal
import socket
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, Histogram

from shadow_platform.adapters.exposition import counter, gauge, histogram, metrics_served, shared_registry
from shadow_platform.contracts import metrics
from shadow_platform.contracts.errors import SettingsError
from shadow_platform_tests.conftest import StartProcess
from shadow_platform_tests.scraped import scrape

LOCAL = "127.0.0.1"
PATIENCE_S = 150.0


def test_what_was_counted_is_served_until_the_end_and_the_port_is_free_again(free_port: int) -> None:
    registry = CollectorRegistry()
    counter(metrics.LOG_RELAYED, registry).labels("predictions", "shop").inc(3)
    gauge(metrics.LOG_RELAY_LAG, registry).labels("predictions", "shop").set(7)
    histogram(metrics.LOG_WRITE_LATENCY, Histogram, registry).observe(0.3)
    url = f"http://{LOCAL}:{free_port}"
    with metrics_served(free_port, LOCAL, registry):
        found = scrape(url)

    assert found.contradictions() == []
    assert found.values("log_relayed_lines_total", log="predictions", use_case="shop") == [3]
    assert found.values("log_relay_lag_bytes") == [7]
    assert found.values("log_write_latency_ms_bucket", le="0.5") == [1]
    with pytest.raises(httpx.ConnectError):
        scrape(url)
    with metrics_served(free_port, LOCAL, registry):
        scrape(url)


def test_without_a_port_nothing_is_served_and_a_taken_port_is_one_line() -> None:
    with metrics_served(None, LOCAL, CollectorRegistry()):
        pass
    with socket.socket() as taken:
        taken.bind((LOCAL, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(SettingsError, match=rf"metrics cannot be served on 127.0.0.1 port {port} \(.*METRICS_PORT$"),
            metrics_served(port, LOCAL, CollectorRegistry()),
        ):
            pass


def test_a_metric_is_made_as_what_it_is() -> None:
    with pytest.raises(TypeError, match="drift_score is a gauge, not a counter"):
        counter(metrics.DRIFT_SCORE, CollectorRegistry())


@pytest.mark.processes
def test_processes_that_share_a_folder_are_added_up(tmp_path: Path, start_process: StartProcess) -> None:
    count = (
        "from shadow_platform.adapters.exposition import counter\n"
        "from shadow_platform.contracts import metrics\n"
        "counter(metrics.SHADOW_PREDICTIONS).labels('2', 'compared').inc(5)\n"
    )
    for _ in range(2):
        assert start_process(["-c", count], PROMETHEUS_MULTIPROC_DIR=str(tmp_path)).process.wait(PATIENCE_S) == 0
    labels = {"challenger": "2", "outcome": "compared"}

    assert shared_registry(tmp_path).get_sample_value("shadow_predictions_total", labels) == 10


@pytest.mark.processes
def test_a_process_that_is_just_starting_does_not_spoil_the_scrape(tmp_path: Path, start_process: StartProcess) -> None:
    count = (
        "from shadow_platform.adapters.exposition import counter\n"
        "from shadow_platform.contracts import metrics\n"
        "counter(metrics.MODEL_SWAPS).inc()\n"
    )
    assert start_process(["-c", count], PROMETHEUS_MULTIPROC_DIR=str(tmp_path)).process.wait(PATIENCE_S) == 0
    (tmp_path / "counter_1.db").touch()

    assert shared_registry(tmp_path).get_sample_value("model_swaps_total") == 1


@pytest.mark.processes
def test_a_gauge_of_a_process_that_died_is_not_shown_and_what_it_counted_is(
    tmp_path: Path, start_process: StartProcess
) -> None:
    told = (
        "import time\n"
        "from shadow_platform.adapters.exposition import counter, gauge\n"
        "from shadow_platform.contracts import metrics\n"
        "gauge(metrics.SHADOW_LAG).labels('2').set(0.1)\n"
        "counter(metrics.MODEL_SWAPS).inc()\n"
        "print('told', flush=True)\n"
        "time.sleep(600)\n"
    )
    process = start_process(["-c", told], PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    process.wait_until(lambda: "told" in process.text(), "it has told")
    alive = shared_registry(tmp_path).get_sample_value("shadow_lag_seconds", {"challenger": "2"})
    process.signal(signal.SIGKILL)
    process.process.wait(PATIENCE_S)

    assert alive == 0.1
    assert shared_registry(tmp_path).get_sample_value("shadow_lag_seconds", {"challenger": "2"}) is None
    assert shared_registry(tmp_path).get_sample_value("model_swaps_total") == 1
