"""Explains predictions beside the hot path: the request as POST /predict takes it, contributions instead of a log row.

Belongs here: validating, completing and naming an explanation, and the one process a worker explains with (started when
first asked for, started again when it died or hangs). Does not belong here: the arithmetic (``domain.explanation``,
``bento.explaining.explain_process``), the route (``bento.api.app``). Upstream: bodies of requests. Downstream: callers.
"""

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import orjson

from bento.answering.features import RequestFeatures
from bento.answering.models import LoadedModel, ModelWatcher
from bento.answering.predictor import RequestHeaders
from bento.explaining.explain_process import READY
from bento.http import ProblemError, parse_json
from bento.package import import_path
from shadow_platform.contracts.bundle import NumericInput
from shadow_platform.contracts.errors import RequestError
from shadow_platform.domain.explanation import largest
from shadow_platform.domain.serving import RequestContract, ServedFeatures, ValidRequest, parse_as_of, rfc3339

LOGGER = logging.getLogger("shadow_platform.explain")

MAX_WAITING = 4
"""Requests that may wait for the one being explained."""
START_LIMIT_S = 60.0
BUDGET_SHARE = 0.75
"""Share of the time left that the process may use; the rest is for its last round and the way back."""
LEAST_SHARE = 0.25
"""Share of a request's time that must be left when its turn comes: no process is ended for what it was hardly given."""
RETRY_SOON = [(b"retry-after", b"1")]


class ExplainProcess:
    """The process that explains, seen from one thread of its worker."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._started_at = 0.0
        self._is_ready = False
        self._is_stopped = threading.Event()

    @property
    def pid(self) -> int | None:
        """Process id, ``None`` while there is no process."""
        return self._child.pid if self._child else None

    def ask(self, message: Mapping[str, Any], deadline: float, least_s: float = 0.0) -> dict[str, Any]:
        """The process's answer; raises ``ProblemError`` when there is none at ``deadline`` (``time.monotonic``).

        With no more than ``least_s`` left the process is not asked; one that was asked and is late is ended.
        """
        for _attempt in range(2):
            if self._is_stopped.is_set():
                break
            try:
                answer: dict[str, Any] = orjson.loads(self._exchange(message, deadline, least_s))
            except (EOFError, OSError):
                LOGGER.warning("the explaining process ended; starting another")
                self._end()
                continue
            if "error" in answer:
                raise ProblemError("internal-error", f"the model could not be explained: {answer['error']}")
            return answer
        raise _unavailable("the explaining process ended twice; see the service's log")

    def stop(self) -> None:
        """End the process for good; whoever waits for it is told so."""
        self._is_stopped.set()
        child = self._child
        if child is not None:
            child.kill()
            child.wait()

    def _exchange(self, message: Mapping[str, Any], deadline: float, least_s: float) -> bytes:
        pipe = self._pipe or self._start()
        if not self._is_ready:
            if not pipe.poll(max(0.0, deadline - time.monotonic())):
                if time.monotonic() - self._started_at > START_LIMIT_S:
                    self._end()
                raise _unavailable("the explaining process is starting")
            self._is_ready = pipe.recv_bytes() == READY
        left_s = deadline - time.monotonic()
        if left_s <= least_s:
            raise _unavailable("the time was used up waiting for the explaining process or for other explanations")
        pipe.send_bytes(orjson.dumps({**message, "budget_s": left_s * BUDGET_SHARE}))
        if not pipe.poll(left_s):
            LOGGER.error("no explanation within %.1f s; ending the explaining process", left_s)
            self._end()
            raise _unavailable("the model is too slow to be explained in time")
        return pipe.recv_bytes()

    def _start(self) -> Connection:
        self._pipe, theirs = Pipe()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(import_path()), "OMP_NUM_THREADS": "1"}
        descriptor = theirs.fileno()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "bento.explaining.explain_process", str(descriptor)],
            env=environment,
            pass_fds=(descriptor,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        theirs.close()
        self._started_at, self._is_ready = time.monotonic(), False
        if self._is_stopped.is_set():
            self._child.kill()
        return self._pipe

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._pipe = self._child = None


class Explainer:
    """Answers POST /explain for one worker, one explanation at a time."""

    def __init__(
        self,
        models: ModelWatcher,
        contract: RequestContract,
        features: RequestFeatures,
        timeout_ms: float,
        is_as_of_allowed: bool = True,
    ) -> None:
        self.process = ExplainProcess()
        self._models = models
        self._contract = contract
        self._features = features
        self._derived = frozenset(f.name for f in contract.use_case.features if f.derivation is not None)
        self._timeout_s = timeout_ms / 1000.0
        self._is_as_of_allowed = is_as_of_allowed
        self._places = threading.BoundedSemaphore(1 + MAX_WAITING)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="explain")

    async def explain(self, body: bytes, headers: RequestHeaders, top: int = 5) -> bytes:
        """Body of the answer: the champion's probability and its ``top`` contributions; raises ``ProblemError``."""
        deadline = time.monotonic() + self._timeout_s
        if not self._places.acquire(blocking=False):
            detail = f"{MAX_WAITING} requests wait for an explanation in this worker; try again"
            raise ProblemError("too-many-requests", detail, headers=RETRY_SOON)
        try:
            champion, request, served, as_of = await self._prepare(body, headers)
        except BaseException:
            self._places.release()
            raise
        found = await self._ask({"bundle": str(champion.bundle.folder), "values": served.values}, deadline)
        answer = self._answer(champion, request, served, found, top)
        return orjson.dumps({**answer, "timestamp": rfc3339(as_of)})

    def stop(self) -> None:
        """End the process and the thread that waits for it."""
        self.process.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _prepare(
        self, body: bytes, headers: RequestHeaders
    ) -> tuple[LoadedModel, ValidRequest, ServedFeatures, datetime]:
        serving = self._models.current
        if serving is None:
            raise ProblemError("not-ready", self._models.reason, headers=RETRY_SOON)
        as_of = now = datetime.now(UTC)
        try:
            if headers.as_of is not None:
                as_of = parse_as_of(headers.as_of, now, is_allowed=self._is_as_of_allowed)
            request = self._contract.parse(parse_json(body), as_of)
        except RequestError as error:
            raise ProblemError.of_request(error) from error
        (served,) = await self._features.serve([request], as_of)
        return serving.champion, request, served, as_of

    async def _ask(self, message: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        """The process's answer; gives the place back when the process is done with it, waited for or not."""
        asked = self._pool.submit(self.process.ask, message, deadline, LEAST_SHARE * self._timeout_s)
        asked.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(asked)

    def _answer(
        self, champion: LoadedModel, request: ValidRequest, served: ServedFeatures, found: dict[str, Any], top: int
    ) -> dict[str, Any]:
        inputs, contributions = champion.bundle.manifest.inputs, found["contributions"]
        places, others = largest(contributions, top)
        use_case = self._contract.use_case
        return {
            use_case.subject: request.subject_id,
            use_case.answer.probability: found["probability"],
            "base_value": found["base_value"],
            "model_version": champion.deployed.version,
            "method": found["method"],
            "contributions": [
                {**_input(inputs[place], request, served, self._derived), "contribution": contributions[place]}
                for place in places
            ],
            "others": others,
            "n_evaluations": found["n_evaluations"],
            "is_truncated": found["is_truncated"],
        }


def _input(column: Any, request: ValidRequest, served: ServedFeatures, derived: frozenset[str]) -> dict[str, Any]:
    """A feature, the value the model was given (``null``: a missing category), and where it came from."""
    name, value = column.name, served.values.get(column.name)
    if value is None:
        imputed = column.imputed if isinstance(column, NumericInput) else None
        return {"feature": name, "value": imputed, "source": "imputed"}
    source = "request" if name in request.features else "derived" if name in derived else "online"
    return {"feature": name, "value": value, "source": source}


def _unavailable(detail: str) -> ProblemError:
    return ProblemError("explanation-unavailable", f"{detail}; try again", headers=RETRY_SOON)
