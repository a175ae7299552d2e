"""Logging across machines: ``python -m benchmarks.log_transport [--part cost|lag|kills] [--records N] [--kills N]``.

``cost``: a prediction appended to a segment, relayed and landed, against the alternatives, a message sent to Kafka by
the process that answers, which waits for the broker or does not; alternating rounds, CPU and time per record. ``lag``:
how long after its append a record can be read in the platform's home, at a steady rate. ``kills``: relays and a lander
get SIGKILL at random moments under load; exit code 1 when a line is lost, doubled or altered.

Broker: Tansu with its storage in memory, on this machine, so that its CPU is not counted and its network is none.
Upstream: ``log_transport``. Downstream: docs/benchmarks.md, ADR 0028.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import orjson

from shadow_platform.adapters.kafka import KafkaSettings
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform.contracts.records import FeatureValue, PredictionRecord
from shadow_platform_tests.bento.helpers import wait_until
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.log_transport.carried import USE_CASE, Way, contents, numbers, of_all
from shadow_platform_tests.log_transport.dying import Carriers, writing

ROUNDS = 5
N_WAITED = 1000
"""Records of a round that are sent and waited for one by one."""
RATE_PER_S = 1000
LAG_S = 20.0


@dataclass(frozen=True)
class Cost:
    """Of one record, in one round."""

    cpu_us: float
    seconds: float


def prediction(number: int) -> PredictionRecord:
    """A record of usual size: 25 features."""
    features: dict[str, FeatureValue] = {f"feature_of_usual_length_{n}": number * 0.37 + n for n in range(25)}
    at = "2024-01-01T00:00:00.000Z"
    return PredictionRecord(
        f"0190163d-8694-739b-aea5-{number:012d}", USE_CASE, f"subject-{number}", {"subject_id": str(number)}, at, at,
        features, {"request": 2, "online": 23, "imputed": 0}, 12.5, "1", "0123456789abcdef", "champion", 1.0, 0.4,
        False, 0.5, 1.25,
    )  # fmt: skip


def measured(n: int, work: Callable[[], None]) -> Cost:
    """Cost of a record of ``n``, threads of this process included."""
    cpu, began = time.process_time(), time.perf_counter()
    work()
    return Cost((time.process_time() - cpu) / n * 1e6, (time.perf_counter() - began) / n)


def sending(servers: str, records: list[PredictionRecord], is_waited: bool) -> Callable[[], None]:
    """What the answering process would do without a log of its own."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": servers, "acks": "all", "linger.ms": "0" if is_waited else "5"})

    def send() -> None:
        for record in records:
            producer.produce("direct", orjson.dumps(record))
            if is_waited:
                producer.flush()
            else:
                producer.poll(0)
        producer.flush()

    return send


def costs(way: Way, records: list[PredictionRecord]) -> dict[str, list[Cost]]:
    """Costs by way of logging, of alternating rounds."""
    found: dict[str, list[Cost]] = {}
    servers = way.kafka.servers
    for number in range(ROUNDS):
        here = Way(way.folder / str(number), way.kafka, f"round{number}")
        sink = FileLogSink(here.server().log("predictions", USE_CASE))
        relay, lander = here.relay(here.server()), here.lander()

        def append(sink: FileLogSink = sink) -> None:
            for record in records:
                sink.append(record)
            sink.close()

        steps: dict[str, tuple[int, Callable[[], None]]] = {
            "append to the segment": (len(records), append),
            "relay": (len(records), lambda relay=relay: relay.run(lambda: False, until_caught_up=True)),  # type: ignore[misc]
            "land": (len(records), lambda lander=lander: lander.run(lambda: False, until_caught_up=True)),  # type: ignore[misc]
            "send to Kafka, not waiting": (len(records), sending(servers, records, is_waited=False)),
            "send to Kafka, waiting": (N_WAITED, sending(servers, records[:N_WAITED], is_waited=True)),
        }
        for name, (n, work) in steps.items():
            found.setdefault(name, []).append(measured(n, work))
        assert contents(here.platform) == contents(here.server())
    return found


def print_costs(way: Way, n: int) -> None:
    """The part ``cost``."""
    records = [prediction(number) for number in range(n)]
    print(f"{n} records of {len(orjson.dumps(records[0]))} bytes, medians of {ROUNDS} alternating rounds")
    base = 0.0
    for name, rounds in costs(way, records).items():
        cpu, seconds = (statistics.median(getattr(cost, part) for cost in rounds) for part in ("cpu_us", "seconds"))
        base = base or cpu
        print(f"{name:<28}{cpu:8.1f} us of CPU{cpu / base:8.1f} x an append{1 / seconds:10,.0f} records/s")
    print("relay and land include the start of their clients; land includes joining the group (about half a second)")


def print_lag(way: Way, broker: Broker) -> None:
    """The part ``lag``: relay and lander are processes of their own."""
    server, platform = way.server("server"), way.platform
    carriers = Carriers(way, broker, ["server"])
    sink, source = (
        FileLogSink(server.log("predictions", USE_CASE)),
        FileLogSource(platform.log("predictions", USE_CASE)),
    )
    padding = prediction(0).features
    after: dict[str, int] = {}
    lags: list[float] = []

    def n_read() -> int:
        for line in source.read(after):
            after[line.offset.segment] = line.offset.end
            lags.append((time.monotonic() - orjson.loads(line.payload)["at"]) * 1000)
        return len(lags)

    try:
        sink.append({"at": time.monotonic()})
        wait_until(lambda: n_read() > 0, "the first landed", 60.0)
        lags.clear()
        began, n = time.monotonic(), 0
        while (now := time.monotonic()) - began < LAG_S:
            while n < (now - began) * RATE_PER_S:
                sink.append({"at": time.monotonic(), "features": padding})
                n += 1
            n_read()
            time.sleep(0.002)
        wait_until(lambda: n_read() == n, "everything landed", 60.0)
    finally:
        carriers.stop()
        sink.close()
    q = statistics.quantiles(lags, n=100)
    print(
        f"{n} records at {RATE_PER_S}/s: readable on the platform after {q[49]:.0f} ms (median), {q[98]:.0f} ms (p99),"
    )
    print(f"{max(lags):.0f} ms at worst; so much of the log is lost with a machine whose disk is lost")


def survives(way: Way, broker: Broker, n_kills: int, seed: int) -> bool:
    """The part ``kills``; whether every guarantee held."""
    servers, rng = [way.server("first"), way.server("second")], Random(seed)
    carriers = Carriers(way, broker, ["first", "second"])
    try:
        with writing(servers, lines_per_s=2 * RATE_PER_S) as acknowledged:
            wait_until(lambda: bool(contents(way.platform)), "it lands", 60.0)
            for _ in range(n_kills):
                time.sleep(rng.uniform(0.0, 1.5))
                carriers.kill_one(rng)
        wait_until(lambda: contents(way.platform) == of_all(*servers), "everything landed", 120.0)
    except AssertionError as error:
        print(error)
    finally:
        carriers.stop()
    landed, wanted = numbers(way.platform), len(acknowledged)
    is_equal = contents(way.platform) == of_all(*servers)
    print(f"{carriers.n_kills} kills, {wanted} records acknowledged in {len(of_all(*servers))} segments")
    print(f"lost {wanted - len(set(landed))}, doubled {len(landed) - len(set(landed))}, byte-identical: {is_equal}")
    return is_equal and landed == acknowledged


def main() -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["cost", "lag", "kills"])
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    is_sound = True
    for part in [options.part] if options.part else ["cost", "lag", "kills"]:
        with tempfile.TemporaryDirectory() as folder:
            broker = Broker(Path(folder)).start()
            way = Way(Path(folder), KafkaSettings(broker.servers, broker.properties), part)
            try:
                if part == "cost":
                    print_costs(way, options.records)
                elif part == "lag":
                    print_lag(way, broker)
                else:
                    is_sound = survives(way, broker, options.kills, options.seed)
            finally:
                broker.stop()
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
