"""The process in which a challenger's model runs: scores what its lane sends, and may hang, leak or crash alone.

Run as ``python -m bento.shadowing.lane_child --challenger VERSION ...`` by ``bento.shadowing.lane_process`` only.
Belongs here: everything that calls a challenger's code. Does not belong here: logs, manifest, metrics, and what a
failure means. Holds no state beyond the model, so that killing it loses nothing. Upstream: the lane. Downstream: the
lane.
"""

import argparse
import ctypes
import faulthandler
import math
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import orjson

from shadow_platform.adapters.bundle import Bundle

MAX_ERROR = 500
MIB = 1 << 20
PR_SET_PDEATHSIG = 1

Answer = tuple[float | None, float | None, str | None]
"""Probability, latency in milliseconds, error."""


def answers(bundle: Bundle, rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """One answer a row; when a micro-batch fails as a whole, each row is tried alone."""
    started = perf_counter()
    try:
        matrix, _ = bundle.encode(rows)
        probabilities = bundle.predict(matrix).tolist()
    except Exception as error:  # noqa: BLE001 - whatever a challenger raises is an observation
        if len(rows) > 1:
            return [answer for row in rows for answer in answers(bundle, [row])]
        return [(None, None, f"{type(error).__name__}: {error}"[:MAX_ERROR])]
    latency_ms = (perf_counter() - started) * 1000.0 / len(rows)
    if len(probabilities) != len(rows):
        return [(None, None, f"NoProbability: {len(probabilities)} numbers for {len(rows)} rows") for _ in rows]
    return [_answer(probability, latency_ms) for probability in probabilities]


def _answer(probability: float, latency_ms: float) -> Answer:
    if math.isfinite(probability):
        return probability, latency_ms, None
    return None, latency_ms, f"NoProbability: challenger gave {probability!r}; expected a probability"


def serve(connection: Connection, bundle: Bundle) -> None:
    """Answer until the lane hangs up."""
    while True:
        try:
            rows = orjson.loads(connection.recv_bytes())
        except EOFError:
            return
        connection.send_bytes(orjson.dumps(answers(bundle, rows)))


def main(arguments: list[str] | None = None) -> int:
    """Load the model, say so or why not, then answer; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bento.shadowing.lane_child", description=__doc__.splitlines()[0])
    parser.add_argument("--challenger", required=True, help="registry version, for people who look at processes")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--connection", type=int, required=True, help="file descriptor inherited from the lane")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--memory-mib", type=int, required=True)
    options = parser.parse_args(arguments)
    _end_with(options.parent)
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_DATA, (options.memory_mib * MIB, options.memory_mib * MIB))
    with Connection(options.connection) as connection:
        try:
            bundle = Bundle.load(options.bundle)
            bundle.selftest()
        except Exception as error:  # noqa: BLE001 - the lane says it, and tries again later
            connection.send_bytes(orjson.dumps({"refusal": f"{type(error).__name__}: {error}"}))
            return 1
        connection.send_bytes(orjson.dumps({"threshold": bundle.manifest.threshold}))
        serve(connection, bundle)
    return 0


def _end_with(parent: int) -> None:
    """Let the kernel end this process with its lane: a model that loops never looks at a closed connection."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
