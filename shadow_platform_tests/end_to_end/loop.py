"""Plays the loop as a team runs it: a code server, a webserver and a daemon; runs are asked for over HTTP.

Belongs here: the processes, the order of the stages, and how long each took. Does not belong here: assertions, what a
column is (``columns``). Upstream: the commands of the platform. Downstream: the test of the scale column and its
benchmark. Nothing here executes a job: the daemon takes every run from the queue.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from shadow_platform.contracts.layout import Layout
from shadow_platform.partitions import partition_range, start_of
from shadow_platform_tests import processes
from shadow_platform_tests.end_to_end.columns import Column
from shadow_platform_tests.end_to_end.short.flights import USE_CASE
from shadow_platform_tests.processes import Started

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "shadow_platform_tests.end_to_end.short.flights:USE_CASE"
LOCATION = "shadow_platform_tests.end_to_end.short.location"
WORKSPACE = "load_from:\n  - grpc_server: {{host: 127.0.0.1, port: {port}, location_name: loop}}\n"
DAY = timedelta(days=1)
SHADOW = ["shadow_platform.cli"]
PATIENCE_S = 900.0
PATIENT_MS = "60000"
"""Longest wait for online features: those of a busy machine are late, not missing; deadlines have other tests."""
LAUNCH = """mutation ($asked: ExecutionParams!) { launchRun(executionParams: $asked) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
STATUS = """query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"""
RUNS = """query ($job: String!) { runsOrError(filter: {pipelineName: $job}) { ... on Runs { results {
  runId status tags { key value } } } } }"""
ERRORS = """query ($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events { ... on
  ExecutionStepFailureEvent { stepKey error { message cause { message cause { message } } } } } } } }"""
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


class Loop:
    """One play of the loop on one column; every process ends with the block.

    Args:
        folder: for the home folders and what the processes print.
    """

    def __init__(self, folder: Path, column: Column) -> None:
        assert USE_CASE.demo is not None
        self.plan = USE_CASE.demo
        self.folder, self.column = folder, column
        self.home = folder / "platform"
        self.serving_home = folder / "serving" if column.is_apart else self.home
        self.seconds: dict[str, float] = {}
        self.url = f"http://127.0.0.1:{processes.free_port()}"
        self._started: list[Started] = []
        self._web = ""
        for made in (self.home, self.serving_home):
            made.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Loop":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            process.signal(signal.SIGTERM)
        for process in reversed(self._started):
            process.stop()

    @property
    def layout(self) -> Layout:
        """Paths of the platform's home."""
        return Layout(self.home)

    @property
    def layout_of_serving(self) -> Layout:
        """Paths of the home that the serving workers write."""
        return Layout(self.serving_home)

    def environment(self, **own: str) -> dict[str, str]:
        """Settings of a process on the platform's machine."""
        return {
            **os.environ,
            **self.column.settings,
            "SHADOW_HOME": str(self.home),
            "SHADOW_EXTRA_USE_CASES": "",
            "SHADOW_USE_CASE": ADDRESS,
            "FEAST_REPO_PATH": str(ROOT / "feature_repo"),
            "DAGSTER_HOME": str(self.layout.dagster),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
            "ONLINE_TIMEOUT_MS": PATIENT_MS,
            **own,
        }

    def play(self) -> None:
        """From the events to the decision."""
        self.prepare()
        self.make_models()
        self.serve()
        self.answer_and_judge()

    def prepare(self) -> None:
        """Storages, and the three processes of Dagster."""
        with self._stage("storages"):
            self.shadow("migrate")
        with self._stage("Dagster starts"):
            code, web = processes.free_port(), processes.free_port()
            workspace = self.folder / "workspace.yaml"
            workspace.write_text(WORKSPACE.format(port=code))
            server = ["dagster", "api", "grpc", "-h", "127.0.0.1", "-p", str(code), "-m", LOCATION]
            self.start("code server", [*server, "--location-name", "loop"]).wait_for_port(code, PATIENCE_S)
            self.start("daemon", ["dagster._daemon", "run", "-w", str(workspace)])
            options = ["-w", str(workspace), "-h", "127.0.0.1", "-p", str(web)]
            self.start("webserver", ["dagster_webserver", *options]).wait_for_port(web, PATIENCE_S)
            self._web = f"http://127.0.0.1:{web}"

    def make_models(self) -> None:
        """Events, through the broker where there is one; features; both models; online features."""
        first, start = USE_CASE.first_partition, start_of(self.plan.serve_from)
        last = self.plan.judged_at - DAY
        if "KAFKA_BOOTSTRAP_SERVERS" in self.column.settings:
            with self._stage("stream"):
                self.shadow("produce", "-u", ADDRESS, "--from", str(first), "--to", str(last))
                self.shadow("stream", "-u", ADDRESS, "--until-caught-up")
        self.run("ingest", tags=partition_range(first, last))
        self.run("train", config=self._configured("training_frame", as_of=start.isoformat()))
        window = {"start": start_of(first).isoformat(), "end": start.isoformat()}
        self.run("materialize", config=self._configured("online_features", **window))

    def serve(self) -> None:
        """The service with its shadow worker; on machines of their own where the column says so."""
        port = self.url.rpartition(":")[2]
        serve = ["serve", "-u", ADDRESS, "--port", port, "--workers", str(self.column.n_workers)]
        with self._stage("service starts"):
            if self.column.is_apart:
                apart = {"SHADOW_HOME": str(self.serving_home), "SHADOW_SHARED": str(self.home)}
                service = self.start("service", [*SHADOW, *serve], SERVE_ROLES="predictor", **apart)
                beside = ["serve", "-u", ADDRESS]
                self.start("shadow worker", [*SHADOW, *beside], SERVE_ROLES="shadow,guard")
                self.start("lander", [*SHADOW, "log", "land", "-u", ADDRESS])
            else:
                service = self.start("service", [*SHADOW, *serve])
            service.wait_until(self._is_ready, "service", PATIENCE_S)

    def answer_and_judge(self) -> None:
        """Two days of traffic, their tables and verdicts, what the sensor starts, the labels, the decision."""
        plan = self.plan
        served = partition_range(plan.serve_from, plan.serve_until - DAY)
        with self._stage("traffic"):
            period = ["--from", str(plan.serve_from), "--to", str(plan.serve_until)]
            self.shadow("traffic", "-u", ADDRESS, *period, "--url", self.url)
        with self._stage("shadow follows"):
            self._wait(self._is_compared, "a comparison of every answer")
        self.run("monitor", tags=served)
        with self._stage("retrain, by the sensor"):
            self._wait(lambda: self._ended_well("retrain"), "the retraining that failing drift asks for")
        self.run("compare", tags=served)
        self.run("label", tags=partition_range(plan.serve_until, plan.judged_at - DAY))
        as_of = start_of(plan.judged_at).isoformat()
        judged = self._configured("performance_daily", as_of=as_of) | self._configured("gate_decision", as_of=as_of)
        self.run("decide", config=judged)

    def run(self, job: str, *, tags: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None) -> None:
        """Ask the webserver for a run, and wait until the daemon has seen it through; fails with its errors."""
        asked = {
            "selector": {
                "jobName": f"flights_{job}",
                "repositoryName": "__repository__",
                "repositoryLocationName": "loop",
            },
            "runConfigData": {"ops": config} if config else {},
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]},
        }
        with self._stage(job):
            launched = self._ask(LAUNCH, asked=asked)["launchRun"]
            assert launched["__typename"] == "LaunchRunSuccess", launched
            run_id = launched["run"]["runId"]
            self._wait(lambda: self._status(run_id) in ENDED, f"the end of {job}")
            status = self._status(run_id)
            assert status == "SUCCESS", f"{job} ended {status}: {self._errors(run_id)}"

    def shadow(self, *arguments: str, **own: str) -> str:
        """Run a ``shadow`` command to its end, which must be a good one; returns what it printed."""
        name = arguments[0]
        process = self.start(name, [*SHADOW, *arguments], **own)
        code = process.process.wait(PATIENCE_S)
        assert code == 0, f"shadow {' '.join(arguments)} ended with {code}\n{process.text()[-4000:]}"
        return process.text()

    def start(self, name: str, module: list[str], **own: str) -> Started:
        """Start a module as a process that ends with the block."""
        output = self.folder / f"{name.replace(' ', '-')}.log"
        process = processes.start([sys.executable, "-m", *module], output, self.environment(**own), self.folder)
        self._started.append(process)
        return process

    @staticmethod
    def _configured(asset: str, **values: str) -> dict[str, Any]:
        return {f"flights__{asset}": {"config": values}}

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", timeout=30, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def n_lines(self, home: Path, log: str) -> int:
        """Lines of a log in a home."""
        root = Layout(home).log(log, "flights")
        return sum(path.read_bytes().count(b"\n") for path in root.rglob("*.jsonl"))

    def _is_compared(self) -> bool:
        answered, landed = (self.n_lines(home, "predictions") for home in (self.serving_home, self.home))
        return answered == landed <= self.n_lines(self.home, "shadow")

    def runs(self, job: str) -> list[dict[str, Any]]:
        """Runs of a job, newest first, with ``runId``, ``status`` and ``tags``."""
        found = self._ask(RUNS, job=f"flights_{job}")["runsOrError"]["results"]
        return [{**run, "tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in found]

    def _ended_well(self, job: str) -> bool:
        """Whether a run of it succeeded; one that could not start in time on a busy machine is asked for again."""
        found = self.runs(job)
        errors = [error for run in found if run["status"] == "FAILURE" for error in self._errors(run["runId"])]
        assert not errors, f"{job}: {errors}"
        return any(run["status"] == "SUCCESS" for run in found)

    def _status(self, run_id: str) -> str:
        return str(self._ask(STATUS, run=run_id)["runOrError"]["status"])

    def _errors(self, run_id: str) -> list[str]:
        events = self._ask(ERRORS, run=run_id)["logsForRun"]["events"]
        return [f"{event['stepKey']}: {_innermost(event['error'])}" for event in events if event.get("error")]

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        asked = {"query": query, "variables": variables}
        answer = httpx.post(f"{self._web}/graphql", json=asked, timeout=PATIENCE_S, trust_env=False).json()
        assert "errors" not in answer, answer
        found: dict[str, Any] = answer["data"]
        return found

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            for process in self._started:
                assert process.process.poll() in {None, 0}, f"{process.output.name}:\n{process.text()[-4000:]}"
            assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:.0f} s; see {self.folder}"
            time.sleep(0.3)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began


def _innermost(error: dict[str, Any]) -> str:
    while error.get("cause"):
        error = error["cause"]
    return str(error["message"]).strip()
