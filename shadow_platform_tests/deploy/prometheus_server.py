"""Real Prometheus and Alertmanager with the shipped configuration, only faster, on ports of this machine.

Belongs here: starting the two, and asking Prometheus. Does not belong here: what is scraped (``observed``), assertions.
Upstream: the Debian packages ``prometheus`` and ``prometheus-alertmanager``. Downstream: tests of rules and dashboards.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from shadow_platform_tests import processes
from shadow_platform_tests.processes import Started

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules"
DASHBOARDS = DEPLOY / "grafana" / "dashboards"
ALERTMANAGER = DEPLOY / "alertmanager" / "alertmanager.yml"
SCRAPED = ("shadow-service", "shadow-worker", "shadow-exporter", "shadow-stream", "shadow-log")
QUICK = "2s"

Targets = Mapping[str, Sequence[Mapping[str, Any]]]


def run_tool(program: str, *arguments: str) -> str:
    """Output of a tool that must succeed; fails with what it said."""
    path = shutil.which(program)
    assert path is not None, f"{program} is missing; apt-get install prometheus prometheus-alertmanager"
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Prometheus:
    """Prometheus with the shipped jobs and rules, which scrapes and evaluates every two seconds.

    Args:
        folder: of its own.
        waits: whether alerts wait as the rules say; without, they fire at once.
    """

    def __init__(self, folder: Path, waits: bool = False) -> None:
        self.port = processes.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        shutil.copytree(RULES.parent, folder / "configuration")
        self._configuration = folder / "configuration" / "prometheus.yml"
        text = self._configuration.read_text()
        self._configuration.write_text(
            re.sub(r"((?:scrape|evaluation)_(?:interval|timeout)): \S+", rf"\1: {QUICK}", text)
        )
        if not waits:
            rules = folder / "configuration" / "rules" / "alerts.yml"
            rules.write_text(re.sub(r"^( +for): \S+$", r"\1: 0s", rules.read_text(), flags=re.MULTILINE))
        self.scrape({})
        self._process: Started | None = None

    def scrape(self, targets: Targets) -> None:
        """Name all targets, by job; a running server follows within seconds, as it follows the shipped files."""
        for name in (*SCRAPED, "alertmanager"):
            path = self._configuration.parent / "targets" / f"{name}.yml"
            path.with_suffix(".new").write_text(yaml.safe_dump(list(targets.get(name, []))))
            path.with_suffix(".new").replace(path)

    def start(self) -> "Prometheus":
        """Start it and wait until it is ready."""
        arguments = {
            "config.file": self._configuration,
            "storage.tsdb.path": self._folder / "data",
            "web.listen-address": f"127.0.0.1:{self.port}",
            "log.level": "warn",
        }
        self._process = _start("prometheus", arguments, self._folder)
        self._process.wait_until(lambda: _answers(f"{self.url}/-/ready"), "Prometheus")
        return self

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Samples of an instant query; fails with Prometheus' own words when it cannot be parsed."""
        answer = httpx.post(f"{self.url}/api/v1/query", data={"query": expression}, trust_env=False)
        document = answer.json()
        assert document["status"] == "success", f"{expression}: {document['error']}"
        found: list[dict[str, Any]] = document["data"]["result"]
        return found

    def value(self, expression: str) -> float:
        """Value of an expression that gives one sample; NaN without any."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if len(found) == 1 else float("nan")

    def names(self) -> set[str]:
        """Names of all series."""
        return set(self._get("label/__name__/values"))

    def label_values(self, selector: str, label: str) -> set[str]:
        """Values of a label among the series of a selector, as a dashboard's variable asks for them."""
        return set(self._get(f"label/{label}/values", {"match[]": selector}))

    def firing(self) -> set[tuple[str, str]]:
        """Alerts that fire: their names and use cases."""
        found = self.query('ALERTS{alertstate="firing"}')
        return {(sample["metric"]["alertname"], sample["metric"].get("use_case", "")) for sample in found}

    def targets(self) -> dict[str, str]:
        """Health of every target, by its address."""
        return {target["labels"]["instance"]: target["health"] for target in self._get("targets")["activeTargets"]}

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        return httpx.get(f"{self.url}/api/v1/{path}", params=query, trust_env=False).json()["data"]


class Alertmanager:
    """Alertmanager with the shipped routes and inhibitions, which sends to one webhook and waits for nothing.

    Args:
        folder: of its own.
        webhook: port of this machine that its receivers are sent to; their paths stay.
    """

    def __init__(self, folder: Path, webhook: int) -> None:
        self.port = processes.free_port()
        self._folder = folder
        text = ALERTMANAGER.read_text().replace("https://alerts.example.org", f"http://127.0.0.1:{webhook}")
        text = re.sub(r"(group_wait|group_interval): \S+", rf"\1: {QUICK}", text)
        (folder / "alertmanager.yml").write_text(text)
        (folder / "secrets").mkdir()
        (folder / "secrets" / "webhook_token").write_text("token-of-the-webhook")
        self._process: Started | None = None

    def start(self) -> "Alertmanager":
        """Start it and wait until it is ready."""
        arguments = {
            "config.file": self._folder / "alertmanager.yml",
            "storage.path": self._folder / "data",
            "web.listen-address": f"127.0.0.1:{self.port}",
            "cluster.listen-address": "",
            "log.level": "warn",
        }
        self._process = _start("prometheus-alertmanager", arguments, self._folder)
        self._process.wait_until(lambda: _answers(f"http://127.0.0.1:{self.port}/-/ready"), "Alertmanager")
        return self

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop()

    def states(self, alert: str, use_case: str) -> set[str]:
        """What becomes of an alert's instances: ``active`` ones are told, ``suppressed`` ones are not."""
        query = {"filter": [f'alertname="{alert}"', f'use_case="{use_case}"']}
        found = httpx.get(f"http://127.0.0.1:{self.port}/api/v2/alerts", params=query, trust_env=False).json()
        return {instance["status"]["state"] for instance in found}


def _start(program: str, arguments: Mapping[str, object], folder: Path) -> Started:
    command = [program, *(f"--{name}={value}" for name, value in arguments.items())]
    return processes.start(command, folder / f"{program}.log", os.environ, folder)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
