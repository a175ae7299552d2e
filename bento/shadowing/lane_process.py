"""A challenger's process as its lane sees it: rows in, scores out, within a bound whatever happens in there.

Belongs here: starting, asking, killing. Does not belong here: which predictions are asked, and what becomes of one that
killed the process (``bento.shadowing.scoring``). Upstream: bundle folder. Downstream: ``bento.shadowing.lane_child``.
"""

import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from bento.package import import_path
from shadow_platform.contracts.errors import BundleError
from shadow_platform.domain.shadow import IsolationPolicy, Score

END_S = 5.0

Features = Mapping[str, Any]


class ChallengerLost(Exception):
    """The process died or had to be killed before it answered; the text says how it ended."""


class _Child(NamedTuple):
    process: "subprocess.Popen[bytes]"
    connection: Connection


class LaneProcess:
    """One challenger in a process of its own, started when it is first asked and again after it was lost.

    Args:
        bundle: folder of the model.
        version: registry version of the model.
    """

    def __init__(self, bundle: Path, version: str, policy: IsolationPolicy) -> None:
        self._bundle = bundle
        self._version = version
        self._policy = policy
        self._child: _Child | None = None
        self.threshold = math.nan
        """Decision threshold of the model, once it was started."""

    @property
    def pid(self) -> int | None:
        """Process id, if one runs."""
        return self._child.process.pid if self._child else None

    def score(self, rows: Sequence[Features]) -> list[Score]:
        """One score a row, in order.

        Raises:
            ChallengerLost: the process ended, or gave no answer within ``max_batch_s`` and was killed.
            BundleError: the model cannot be started.
        """
        child = self._child or self._start()
        return [Score(*answer) for answer in self._ask(child, orjson.dumps(rows), self._policy.max_batch_s)]

    def close(self) -> None:
        """End the process; it holds nothing worth keeping."""
        if self._child:
            child, self._child = self._child, None
            child.process.kill()
            child.process.wait()
            child.connection.close()

    def _start(self) -> _Child:
        ours, theirs = Pipe()
        command = [sys.executable, "-m", "bento.shadowing.lane_child", "--challenger", self._version]
        command += ["--bundle", str(self._bundle), "--connection", str(theirs.fileno()), "--parent", str(os.getpid())]
        command += ["--memory-mib", str(self._policy.max_memory_mib)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(import_path()), "OMP_NUM_THREADS": "1"}
        with theirs:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
        child = self._child = _Child(process, ours)
        try:
            hello = self._ask(child, None, self._policy.max_start_s)
        except ChallengerLost as lost:
            hello = {"refusal": str(lost)}
        if "refusal" in hello:
            self.close()
            raise BundleError(f"challenger {self._version} does not start: {hello['refusal']}")
        self.threshold = hello["threshold"]
        return child

    def _ask(self, child: _Child, payload: bytes | None, limit_s: float) -> Any:
        """The child's next message. A stopped child blocks the sending too, hence a timer and not a timeout."""
        is_hung = threading.Event()

        def kill() -> None:
            is_hung.set()
            child.process.kill()

        timer = threading.Timer(limit_s, kill)
        timer.daemon = True
        timer.start()
        try:
            if payload is not None:
                child.connection.send_bytes(payload)
            return orjson.loads(child.connection.recv_bytes())
        except (EOFError, OSError):
            ending = self._ending(child.process)
            self.close()
            raise ChallengerLost(f"killed after {limit_s:g} s" if is_hung.is_set() else ending) from None
        finally:
            timer.cancel()

    @staticmethod
    def _ending(process: "subprocess.Popen[bytes]") -> str:
        try:
            code = process.wait(END_S)
        except subprocess.TimeoutExpired:
            return "process died: it hung up"
        return f"process died: {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"
