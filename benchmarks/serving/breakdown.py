"""Where the time of a request goes: each step of an answer in this process, and what HTTP adds around it.

Belongs here: a stopwatch around the service's own steps. Does not belong here: a profiler, whose cost a call would
drown steps of microseconds. Upstream: ``bento``, ``platform``. Downstream: ``report``.

Steps are measured with one request at a time. A lookup then waits for the store's thread, which sixteen callers share;
so for the online store the figure of the whole request under load is the one that counts.
"""

import asyncio
import inspect
import os
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from functools import wraps
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
from starlette.types import ASGIApp

import bento.answering.predictor
import bento.api.app
from benchmarks.serving.load import Contender, alternate, write_script
from benchmarks.serving.models import ONLINE, REQUEST
from benchmarks.serving.peers import running_peer
from benchmarks.serving.platform import Platform, running_platform
from benchmarks.serving.report import Effort, Report
from bento.worker import Worker
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.settings import Settings

N_REQUESTS = 2_000
READY_S = 60.0
STOPWATCH, ALONE = "the stopwatch itself", "SUM: answer in a process alone, one caller, no stopwatch"
HTTP, WHOLE = "HTTP, event loop, sockets: the difference", "SUM: request under load, 16 callers"
FLOOR = "bare Starlette, a constant, under load"


class Stopwatch:
    """Seconds a step, without the steps inside it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._steps: list[str] = []
        self._since = 0.0

    def around(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function or coroutine function, its time charged to a step."""
        return self._awaited(step, function) if inspect.iscoroutinefunction(function) else self._called(step, function)

    def _called(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **named: Any) -> Any:
            self._enter(step)
            try:
                return function(*args, **named)
            finally:
                self._leave()

        return timed

    def _awaited(self, step: str, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @wraps(function)
        async def timed(*args: Any, **named: Any) -> Any:
            self._enter(step)
            try:
                return await function(*args, **named)
            finally:
                self._leave()

        return timed

    def _enter(self, step: str) -> None:
        self._charge()
        self._steps.append(step)

    def _leave(self) -> None:
        self._charge()
        self._steps.pop()

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._steps:
            self.seconds[self._steps[-1]] += now - self._since
        self._since = now


def breakdown(folder: Path, effort: Effort, report: Report) -> None:
    """Microseconds a step, for features in the request and from the online store."""
    for use_case, n_entities in ((REQUEST, 0), (ONLINE, effort.n_entities)):
        home = folder / use_case.name
        with running_platform(home, use_case, n_entities) as platform:
            whole, floor = _under_load(platform, home, effort)
            body = next(iter(platform.bodies.values()))
        # A worker registers its metrics with its process, so each has one of its own.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            steps, alone = pool.submit(steps_of_a_worker, home, use_case, body, effort.rounds).result()
        part = f"where a request's time goes, microseconds: {use_case.name}"
        for step, microseconds in sorted(steps.items(), key=lambda item: -median(item[1])):
            report.add(part, step, {"us": microseconds})
        watched = [sum(values) for values in zip(*steps.values(), strict=True)]
        report.add(part, STOPWATCH, {"us": [w - a for w, a in zip(watched, alone, strict=True)]})
        report.add(part, ALONE, {"us": alone})
        report.add(part, HTTP, {"us": [w - a for w, a in zip(whole, alone, strict=True)]})
        report.add(part, WHOLE, {"us": whole})
        report.add(part, FLOOR, {"us": floor})


def steps_of_a_worker(
    folder: Path, use_case: UseCase, bodies: Path, rounds: int
) -> tuple[dict[str, list[float]], list[float]]:
    """Microseconds a step, and of whole answers without the stopwatch; a value a round. Once a process."""
    # prometheus_client chooses its multiprocess mode when it is imported: the mode of serving workers.
    metrics = folder / "metrics"
    metrics.mkdir()
    os.environ |= {"PROMETHEUS_MULTIPROC_DIR": str(metrics), "OMP_NUM_THREADS": "1"}
    settings = Settings(shadow_home=folder / "home")
    # The loop that uvicorn chooses.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_steps(settings, use_case, bodies.read_bytes().splitlines()[:N_REQUESTS], rounds))


def _under_load(platform: Platform, folder: Path, effort: Effort) -> tuple[list[float], list[float]]:
    """Microseconds of the one worker's time a request takes when it is all used: the platform's, and the floor's."""
    script = write_script(next(iter(platform.bodies.values())))
    with running_peer("constant", folder) as floor:
        contenders = [Contender(WHOLE, platform.url, script), Contender(FLOOR, f"{floor}/predict", script)]
        runs = alternate(contenders, effort.seconds, effort.rounds)
    whole, constant = ([1e6 / run.per_s for run in runs[name]] for name in (WHOLE, FLOOR))
    return whole, constant


async def _steps(
    settings: Settings, use_case: UseCase, bodies: list[bytes], rounds: int
) -> tuple[dict[str, list[float]], list[float]]:
    worker, site = Worker(settings, use_case), bento.api.app.Site()
    worker.start()
    try:
        await until_ready(worker)
        site.worker = worker
        endpoint = bento.api.app.build_endpoints(use_case, settings, site)["/predict"]
        await answer_all(endpoint, bodies)
        alone = [await answer_all(endpoint, bodies) for _ in range(rounds)]
        stopwatch, watched = _watched(worker, endpoint)
        steps: dict[str, list[float]] = {}
        for _ in range(rounds):
            stopwatch.seconds.clear()
            await answer_all(watched, bodies)
            for step, seconds in stopwatch.seconds.items():
                steps.setdefault(step, []).append(seconds / len(bodies) * 1e6)
    finally:
        worker.stop()
    return steps, alone


def _watched(worker: Worker, endpoint: bento.api.app.Endpoint) -> tuple[Stopwatch, ASGIApp]:
    """A stopwatch around the steps of an answer, by the names that the service gives them, and around the endpoint."""
    if worker.models.current is None:
        raise RuntimeError(worker.models.reason)
    bundle, stopwatch = worker.models.current.champion.bundle, Stopwatch()
    for step, owner, name in (
        ("read the body", bento.api.app, "read_body"),
        ("parse JSON", bento.answering.predictor, "parse_json"),
        ("validate", worker.contract, "parse"),
        ("features", worker.features, "serve"),
        ("encode", bundle, "encode"),
        ("ONNX and calibration", bundle, "predict"),
        ("build the record", bento.answering.predictor, "build_record"),
        ("append to the log", worker.sink, "append"),
        ("build the answer", bento.answering.predictor, "build_answer"),
        ("metrics", worker.metrics, "count_prediction"),
        ("rest of the predictor: ids, times, choice of model, dump", worker.predictor, "answer"),
    ):
        setattr(owner, name, stopwatch.around(step, getattr(owner, name)))
    return stopwatch, stopwatch.around("rest of the route: headers, limits, reply", endpoint.__call__)


async def until_ready(worker: Worker) -> None:
    """Wait until the worker can answer; raises when it cannot in time."""
    deadline = time.monotonic() + READY_S
    while not worker.readiness()[0]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the worker is not ready: {worker.readiness()[1]}")
        await asyncio.sleep(0.1)


async def answer_all(endpoint: ASGIApp, bodies: list[bytes]) -> float:
    """Microseconds a request; raises when one is refused."""
    statuses: Counter[int] = Counter()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses[message["status"]] += 1

    began = time.perf_counter()
    for body in bodies:

        async def receive(body: bytes = body) -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers}
        await endpoint(scope, receive, send)
    took = time.perf_counter() - began
    if statuses != {200: len(bodies)}:
        raise RuntimeError(f"answers by status: {dict(statuses)}")
    return took / len(bodies) * 1e6
