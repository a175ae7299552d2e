"""Load from independent generators: ``wrk`` in a closed loop for throughput, ``h2load`` in an open one for latency.

Belongs here: running a generator and reading what it measured. Does not belong here: what is loaded. Upstream: Debian
packages ``wrk`` and ``nghttp2-client``. Downstream: every measurement of this package.

h2load runs one process a connection, each at a constant rate with a random phase, so that requests arrive as from
many callers. It writes when each request began and how long it took. A request that was due while the connection still
waited for the previous answer began late through the service's fault: its latency counts from when it was due.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

CONNECTIONS = 16
PER_CONNECTION = 80.0
"""Requests a second of one open-loop connection: h2load's timer is exact up to 100."""
SETTLE_S = 3.0
"""Start of an open-loop run that is left out: starting sixty processes takes more than a second of both cores."""
WARM_UP_S = 3
HANG_S = 60
"""Silence after which an open-loop connection is given up, and the run with it."""
GENERATORS = {"wrk": "wrk", "h2load": "nghttp2-client"}
SCRIPT = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local place = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
  place = place %% #bodies + 1
  %s
  return wrk.format(nil, nil, nil, bodies[place])
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %%d %%d %%d %%.3f %%.3f\\n", summary.requests, summary.duration,
    e.status + e.connect + e.read + e.timeout, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""
KEYED = """count = (count or 0) + 1
  wrk.headers["Idempotency-Key"] = started .. "-" .. count"""
STARTED = 'local started = io.open("/proc/sys/kernel/random/uuid"):read()'


@dataclass(frozen=True)
class Run:
    """One closed-loop measurement."""

    per_s: float
    p50_ms: float
    p99_ms: float
    n: int


@dataclass(frozen=True)
class Contender:
    """Something that answers, and what it is sent.

    Attributes:
        rows: rows in one request.
        connections: callers at once, each sending its next request when it has its answer.
        before: puts it into the state to be measured.
        after: waits until nothing is left to do.
    """

    name: str
    url: str
    script: Path
    rows: int = 1
    connections: int = CONNECTIONS
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None


def missing_generators() -> list[str]:
    """Debian packages to install before anything can be measured."""
    return [package for command, package in GENERATORS.items() if shutil.which(command) is None]


def write_script(bodies: Path, *, keyed: bool = False) -> Path:
    """Script for wrk that sends the lines of a file in turn, each with an ``Idempotency-Key`` of its own if asked."""
    script = bodies.with_suffix(".keyed.lua" if keyed else ".lua")
    text = SCRIPT % (bodies, KEYED if keyed else "")
    script.write_text(STARTED + text if keyed else text, encoding="utf-8")
    return script


def closed_loop(url: str, script: Path, seconds: int, connections: int = CONNECTIONS) -> Run:
    """Load one URL as fast as it answers; raises when any request failed."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+)", output)
    if found is None:
        raise RuntimeError(f"wrk printed no result:\n{output}")
    requests, microseconds, errors = (int(found.group(place)) for place in (1, 2, 3))
    if errors or not requests:
        raise RuntimeError(f"{url} answered {requests} requests in {seconds} s, {errors} of them with an error")
    return Run(requests / microseconds * 1e6, float(found.group(4)), float(found.group(5)), requests)


def alternate(contenders: Sequence[Contender], seconds: int, rounds: int) -> dict[str, list[Run]]:
    """Runs of each contender, a round after the other, after one to warm up."""
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for round_no in range(rounds + 1):
        for contender in contenders:
            contender.before()
            length = seconds if round_no else WARM_UP_S
            run = closed_loop(contender.url, contender.script, length, contender.connections)
            contender.after()
            if round_no:
                runs[contender.name].append(run)
                latency = f"p50 {run.p50_ms:8.2f}  p99 {run.p99_ms:8.2f} ms"
                print(f"  {contender.name:46} {run.per_s * contender.rows:9,.0f}/s  {latency}", flush=True)
    return runs


def open_loop(url: str, bodies: Sequence[Path], per_s: float, seconds: float) -> npt.NDArray[np.float64]:
    """Latencies in milliseconds at a constant rate, whatever the service does; raises when any request failed.

    Args:
        bodies: files with one request each, taken in turn by the connections.
    """
    n_connections = max(1, round(per_s / PER_CONNECTION))
    rate = per_s / n_connections
    n = round(rate * (seconds + SETTLE_S))
    with TemporaryDirectory(prefix="open-loop-") as folder, ExitStack() as stack:
        logs = [Path(folder) / f"{i}.tsv" for i in range(n_connections)]
        processes = [
            stack.enter_context(_h2load(url, bodies[i % len(bodies)], log, rate, n)) for i, log in enumerate(logs)
        ]
        for process in processes:
            if process.wait():
                raise RuntimeError(f"h2load ended with code {process.returncode} against {url}")
        return np.concatenate([_latencies(log, rate, n) for log in logs])


def _h2load(url: str, body: Path, log: Path, rate: float, n: int) -> "subprocess.Popen[bytes]":
    command = ["h2load", "--h1", "-c1", f"-n{n}", f"--rps={rate:.4f}", "-d", str(body), f"--log-file={log}"]
    command += [f"-N{HANG_S}", "-H", "content-type: application/json", url]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _latencies(log: Path, rate: float, n: int) -> npt.NDArray[np.float64]:
    """Milliseconds of one connection's requests, without the start of the run."""
    rows = np.loadtxt(log, ndmin=2)
    began_us, status, took_us = rows[:, 0], rows[:, 1], rows[:, 2]
    n_answered = int(np.sum(status == 200))
    if n_answered != n:
        raise RuntimeError(f"{n - n_answered} of {n} requests failed")
    due_us = began_us[0] + np.arange(len(rows)) * 1e6 / rate
    ended_us = began_us + took_us
    is_held_up = np.concatenate(([False], ended_us[:-1] > due_us[1:]))
    latency_us = np.where(is_held_up, ended_us - due_us, took_us)
    kept: npt.NDArray[np.float64] = latency_us[due_us >= began_us[0] + SETTLE_S * 1e6] / 1000.0
    return kept
