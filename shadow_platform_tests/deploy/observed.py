"""Every process that exposes metrics, at work, scraped by a real Prometheus whose alerts reach a real webhook.

Belongs here: starting them together, and the traffic they are at work on. Does not belong here: assertions. Upstream:
``prometheus_server``, ``written``, a running service, a broker. Downstream: tests of alerts and dashboards, which
import the fixture into their conftest.
"""

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from bento.serve import running_service
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import Settings
from shadow_platform_tests import processes
from shadow_platform_tests.alert_servers import Inbox, webhook
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import FAILS_ABOVE, line_bundle, raising_bundle
from shadow_platform_tests.bento.helpers import deploy, settings_at, wait_until
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.deploy.prometheus_server import Alertmanager, Prometheus, Targets
from shadow_platform_tests.deploy.written import write_everything
from shadow_platform_tests.processes import Started
from shadow_platform_tests.streaming import shop as streamed

REPOSITORY = Path(__file__).parents[2]
USE_CASE = shop.USE_CASE
PAUSE_S = 0.1
START_S = 150.0
"""Longest start of everything, on a machine that is busy with other things; the shadow worker yields to all of them."""
Service = str
Ports = Mapping[Service, int]


class Traffic:
    """A caller that asks some ten times a second; a model that fails for large carts fails on every fourth request."""

    def __init__(self, url: str) -> None:
        self._url, self._ended = url, threading.Event()

    def ask(self) -> None:
        """Ask until told to end, whatever is answered."""
        number = 0
        with httpx.Client(base_url=self._url, timeout=10.0, trust_env=False) as client:
            while not self._ended.wait(PAUSE_S):
                number += 1
                value = FAILS_ABOVE + 20 if number % 4 == 0 else float(number % 90)
                body = {"visit_id": f"v-{number}", "cart_value": value, "channel": ("mail", "shop")[number % 2]}
                with suppress(httpx.HTTPError):
                    client.post("/predict", json=body)

    @contextmanager
    def running(self) -> Iterator["Traffic"]:
        """Ask while the block runs."""
        thread = threading.Thread(target=self.ask)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()


@dataclass(frozen=True)
class Observed:
    """What is scraped, and what watches it."""

    layout: Layout
    prometheus: Prometheus
    alertmanager: Alertmanager
    inbox: Inbox
    targets: Targets

    def deploy(self, champion: str) -> None:
        """Put a bundle into service beside the same challengers; it keeps the version, of which verdicts are known."""
        _deploy(self.layout, champion)

    def wait_for(self, expression: str, timeout_s: float) -> None:
        """Wait until a query gives something."""
        wait_until(lambda: bool(self.prometheus.query(expression)), expression, timeout_s)


@pytest.fixture(scope="session")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A service of ``shop`` with two challengers, its exporter, relay and lander, and a consumer of a stream."""
    folder = tmp_path_factory.mktemp("observed")
    ports = {name: processes.free_port() for name in ("service", "exporter", "relay", "lander", "stream")}
    with ExitStack() as stack:
        inbox = stack.enter_context(webhook())
        broker = Broker(folder).start()
        stack.callback(broker.stop)
        for started in _start_beside(folder, ports, broker):
            stack.callback(started.stop)
        settings = _deployed(folder / "home")
        stack.enter_context(running_service(settings, shop.NAME, ports["service"]))
        alertmanager = Alertmanager(_made(folder / "alertmanager"), _port_of(inbox)).start()
        stack.callback(alertmanager.stop)
        prometheus = Prometheus(_made(folder / "prometheus"))
        prometheus.scrape(targets := _targets(ports, alertmanager.port))
        prometheus.start()
        stack.callback(prometheus.stop)
        stack.enter_context(Traffic(f"http://127.0.0.1:{ports['service']}").running())
        found = Observed(settings.layout, prometheus, alertmanager, inbox, targets)
        _wait_for_everybody(found, ports)
        calm = ("ServiceErrorRateHigh", USE_CASE.name)
        wait_until(lambda: calm not in prometheus.firing(), "hardly a request fails", START_S)
        yield found


def _deployed(home: Path) -> Settings:
    settings = settings_at(home)
    _deploy(settings.layout, line_bundle(settings.layout.bundles))
    write_everything(settings.layout, USE_CASE, champion="1")
    return settings


def _deploy(layout: Layout, champion: str) -> None:
    challengers = {"2": line_bundle(layout.bundles, slope=0.03), "3": raising_bundle(layout.bundles)}
    deploy(layout, champion, challengers)


def _start_beside(folder: Path, ports: Ports, broker: Broker) -> Iterator[Started]:
    """Start every process but the service; they wait for what is not there yet."""
    own = {"SHADOW_HOME": str(folder / "home"), "SHADOW_EXTRA_USE_CASES": shop.NAME, **broker.environment}
    landed = own | {"SHADOW_HOME": str(folder / "landed")}
    stream = own | {"SHADOW_HOME": str(folder / "stream")}
    for kind in streamed.USE_CASE.events:
        broker.create(str(kind.topic and kind.topic.name))
        broker.send(str(kind.topic and kind.topic.name), [{"value": b"not an event"}])
    commands: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {
        "relay": (("log", "relay", "-u", shop.NAME), own),
        "lander": (("log", "land", "-u", shop.NAME), landed),
        "exporter": (("metrics", "--refresh", "1"), own),
        "stream": (("stream", "-u", streamed.NAME), stream),
    }
    (folder / "home").mkdir()
    for name, (words, settings) in commands.items():
        quiet = {key: value for key, value in os.environ.items() if key.lower() not in Settings.model_fields}
        served = {"METRICS_PORT": str(ports[name]), "METRICS_HOST": "127.0.0.1"} if name in ports else {}
        environment = quiet | dict(settings) | served | {"PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-m", "shadow_platform.cli", *words]
        yield processes.start(command, folder / f"{name}.log", environment, folder)


def _targets(ports: Ports, alertmanager: int) -> Targets:
    def at(*names: str) -> list[str]:
        return [f"127.0.0.1:{ports[name]}" for name in names]

    return {
        "shadow-service": [{"targets": at("service"), "labels": {"use_case": USE_CASE.name}}],
        "shadow-exporter": [{"targets": at("exporter")}],
        "shadow-stream": [{"targets": at("stream")}],
        "shadow-log": [{"targets": at("relay", "lander")}],
        "alertmanager": [{"targets": [f"127.0.0.1:{alertmanager}"]}],
    }


def _wait_for_everybody(found: Observed, ports: Ports) -> None:
    addresses = {f"127.0.0.1:{port}" for port in ports.values()}
    prometheus = found.prometheus

    def is_up() -> bool:
        return {name for name, health in prometheus.targets().items() if health == "up"} >= addresses

    wait_until(is_up, "every target is up", START_S)
    for expression in (
        "log_landed_lines_total > 0",
        "shadow_stream_messages_total > 0",
        "use_case:predictions:rate5m > 0",
        "drift_score",
        "dagster_runs",
    ):
        found.wait_for(expression, START_S)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _port_of(inbox: Inbox) -> int:
    port = httpx.URL(inbox.url.replace("json://", "http://")).port
    assert port is not None
    return port
