"""Metrics of a service with two workers: one truth whoever is asked, and none of it lost or doubled by a restart."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
from prometheus_client import CollectorRegistry

from bento.answering.metrics import ServiceMetrics
from bento.serve import RunningService, ServiceError, free_port, running_service
from bento.shadowing.shadow_metrics import ShadowMetrics
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.metrics import LOG_DISK_FREE, LOG_DISK_SIZE, MODEL_INFO, MODEL_REFUSED, exposed_by
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import body_of, deploy, outcomes, predictions, settings_at, wait_until
from shadow_platform_tests.scraped import Scraped, scrape

pytestmark = pytest.mark.processes

OF_THE_SHADOW = {
    "shadow_predictions_total",
    "shadow_latency_ms",
    "shadow_lag_seconds",
    "shadow_circuit_state",
    "model_agreement_rate",
}
OF_WHAT_HAPPENED = OF_THE_SHADOW | {
    "predictions_total",
    "prediction_latency_ms",
    "prediction_errors_total",
    "log_write_latency_ms",
    "model_info",
}


@dataclass
class Watched:
    """A service of two workers with a challenger in the shadow."""

    service: RunningService
    layout: Layout
    n_sent: int = 0

    def send(self, n: int) -> None:
        """Requests over connections of their own, so that both workers answer some."""
        url, headers = f"{self.service.url}/predict", {"connection": "close"}
        with httpx.Client(headers=headers, timeout=60.0, verify=False) as client, ThreadPoolExecutor(8) as callers:
            bodies = [body_of(index) for index in range(self.n_sent, self.n_sent + n)]
            statuses = list(callers.map(lambda body: client.post(url, json=body).status_code, bodies))
        assert set(statuses) == {200}
        self.n_sent += n

    def wait_counted(self, n: int, n_timed: float = 0.0) -> Scraped:
        """The scrape in which so many answers are counted and timed, and as many sent to the challenger.

        A process counts first and times then, and the shadow worker tells how it is last.

        Args:
            n_timed: answers of the challenger that are timed.
        """
        found: list[Scraped] = []

        def is_counted() -> bool:
            try:
                found.append(scrape(self.service.url))
            except httpx.TransportError:
                return False
            at_least = {
                "predictions_total": n,
                "prediction_latency_ms_count": n,
                "shadow_predictions_total": n,
                "shadow_latency_ms_count": n_timed,
            }
            is_told = found[-1].names >= OF_THE_SHADOW
            return is_told and all(found[-1].total(series) >= least for series, least in at_least.items())

        wait_until(is_counted, f"{n} answers are counted, and sent to the challenger")
        return found[-1]

    @property
    def shadow_pid(self) -> int | None:
        """Process id of the shadow worker; ``None`` between two of them."""
        try:
            return self.service.shadow_pid
        except ServiceError:
            return None

    def wait_workers(self, without: set[int]) -> None:
        """Wait until two workers live that are none of these."""

        def are_there() -> bool:
            try:
                return len(set(self.service.worker_pids) - without) == 2 and self._is_ready()
            except ServiceError:
                return False

        wait_until(are_there, "two new workers answer")

    def _is_ready(self) -> bool:
        try:
            return all(httpx.get(f"{self.service.url}/ready", timeout=5.0).status_code == 200 for _ in range(6))
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    settings = settings_at(tmp_path_factory.mktemp("watched"))
    layout = settings.layout
    deploy(layout, line_bundle(layout.bundles), {"2": line_bundle(layout.bundles, slope=0.03)})
    with running_service(settings, shop.NAME, free_port(), workers=2) as service:
        yield Watched(service, layout)


def test_every_process_declares_what_the_catalogue_says_and_nothing_else() -> None:
    registry = CollectorRegistry()
    ServiceMetrics(registry)
    ShadowMetrics(registry)
    made = {(family.name, family.type, family.documentation) for family in registry.collect()}

    expected = set(exposed_by("service", "shadow worker")) - {MODEL_INFO, MODEL_REFUSED, LOG_DISK_FREE, LOG_DISK_SIZE}
    assert made == {(metric.name.removesuffix("_total"), metric.kind, metric.described) for metric in expected}


def test_whichever_worker_is_asked_counts_the_answers_of_all(watched: Watched) -> None:
    watched.send(200)
    assert httpx.post(f"{watched.service.url}/predict", json={"visit_id": 1}, timeout=60.0).status_code == 422
    watched.wait_counted(200, n_timed=200)
    scrapes = [scrape(watched.service.url) for _ in range(8)]

    assert {found.total("predictions_total") for found in scrapes} == {200}
    for found in scrapes:
        assert found.contradictions() == []
        assert found.names >= OF_WHAT_HAPPENED
        assert found.total("prediction_latency_ms_count", model_variant="champion") == 200
        assert found.values("prediction_latency_ms_bucket", le="+Inf") == [200]
        assert found.total("prediction_errors_total", reason="invalid-request") == 1
        assert found.total("shadow_predictions_total", challenger="2", outcome="compared") == 200
        assert found.values("model_info", version="1", alias="champion") == [1]
        assert 0 < found.total("log_disk_free_bytes") < found.total("log_disk_size_bytes")
    # One append may hold answers of several requests, and the latency of each append is counted once.
    assert 0 < scrapes[0].total("log_write_latency_ms_count") <= 200


def test_a_killed_worker_takes_nothing_that_was_counted_with_it(watched: Watched) -> None:
    before = watched.wait_counted(watched.n_sent)
    workers = set(watched.service.worker_pids)
    victim = min(workers)
    os.kill(victim, signal.SIGKILL)
    watched.wait_workers(without={victim})
    after = scrape(watched.service.url)

    for series in ("predictions_total", "prediction_latency_ms_sum", "prediction_errors_total"):
        assert after.total(series) == before.total(series), series
    watched.send(100)
    again = watched.wait_counted(watched.n_sent)
    assert again.total("predictions_total") == watched.n_sent == len(predictions(watched.layout))
    assert again.values("model_info", alias="champion") == [1]


def test_a_killed_shadow_worker_counts_on_and_its_gauges_are_those_of_its_successor(watched: Watched) -> None:
    before = watched.wait_counted(watched.n_sent)
    killed = watched.service.shadow_pid
    os.kill(killed, signal.SIGKILL)
    watched.send(100)
    after = watched.wait_counted(watched.n_sent, n_timed=before.total("shadow_latency_ms_count") + 100)

    assert watched.service.shadow_pid != killed
    assert after.total("shadow_predictions_total") == watched.n_sent == outcomes(watched.layout, "2").total()
    for gauge in ("shadow_lag_seconds", "model_agreement_rate", "shadow_circuit_state"):
        assert len(after.values(gauge, challenger="2")) == 1, gauge


def test_a_new_server_counts_from_zero_and_its_shadow_worker_with_it(watched: Watched) -> None:
    watched.wait_counted(watched.n_sent)
    old, shadow = set(watched.service.worker_pids), watched.service.shadow_pid
    os.kill(watched.service.server_pid, signal.SIGKILL)
    watched.wait_workers(without=old)
    wait_until(lambda: watched.shadow_pid not in {None, shadow}, "the shadow worker follows")
    logged = len(predictions(watched.layout))
    watched.send(60)
    after = watched.wait_counted(60)

    assert after.total("predictions_total") == 60
    assert after.total("shadow_predictions_total", outcome="compared") == 60
    assert len(predictions(watched.layout)) == logged + 60
    assert outcomes(watched.layout, "2").total() == logged + 60
    assert after.contradictions() == []
