"""Homes whose logs are carried from one to another, and whether they agree.

Belongs here: what several tests, and the benchmark, do with relays and landers. Does not belong here: assertions about
one failure. Upstream: ``log_transport``. Downstream: its tests, ``benchmarks.log_transport``.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shadow_platform.adapters.kafka import KafkaSettings
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.contracts.layout import Layout
from shadow_platform.log_transport.lander import LogLander, group_of
from shadow_platform.log_transport.relay import LogRelay

USE_CASE = "shop"
LOGS = ("predictions", "failures")
Contents = dict[str, bytes]


@dataclass(frozen=True)
class Way:
    """Serving homes, the platform's home, and the topics between them."""

    folder: Path
    kafka: KafkaSettings
    prefix: str

    def server(self, name: str = "server") -> Layout:
        """Home of one machine that answers."""
        return Layout(self.folder / name)

    @property
    def platform(self) -> Layout:
        """Home of the machine that judges."""
        return Layout(self.folder / "platform")

    def relay(
        self, server: Layout, logs: Sequence[str] = LOGS, again: bool = False, keep_h: int | None = None
    ) -> LogRelay:
        """A relay of one home."""
        return LogRelay(server, USE_CASE, logs, self.kafka, self.prefix, again, keep_h)

    def lander(
        self, logs: Sequence[str] = LOGS, group: str | None = None, skips_gaps: bool = False, name: str = "platform"
    ) -> LogLander:
        """A lander of the platform's home."""
        group = group or group_of(self.prefix, USE_CASE)
        return LogLander(self.server(name), USE_CASE, logs, self.kafka, self.prefix, group, skips_gaps)

    def carry(self, *servers: Layout, logs: Sequence[str] = LOGS) -> LogLander:
        """Relay these homes' logs, then land them; the lander that did."""
        for server in servers:
            self.relay(server, logs).run(lambda: False, until_caught_up=True)
        lander = self.lander(logs)
        lander.run(lambda: False, until_caught_up=True)
        return lander


def append(server: Layout, records: Sequence[object], log: str = "predictions") -> Path:
    """Append records as a process does that answers, in a segment of its own; the segment."""
    root = server.log(log, USE_CASE)
    before = set(root.rglob("*.jsonl"))
    sink = FileLogSink(root)
    sink.append_many(records)
    sink.close()
    return next(iter(set(root.rglob("*.jsonl")) - before))


def records(n: int, first: int = 0, size: int = 200) -> list[dict[str, object]]:
    """Records of some size, each with its number."""
    return [{"request_id": number, "padding": "é" * (size // 2)} for number in range(first, first + n)]


def contents(home: Layout, logs: Sequence[str] = LOGS) -> Contents:
    """Complete lines of every segment, by its path below the home."""
    found = {}
    for log in logs:
        for path in home.log(log, USE_CASE).rglob("*.jsonl"):
            lines = path.read_bytes()
            found[path.relative_to(home.home).as_posix()] = lines[: lines.rfind(b"\n") + 1]
    return {name: lines for name, lines in found.items() if lines}


def of_all(*homes: Layout, logs: Sequence[str] = LOGS) -> Contents:
    """What homes hold together; no two have a segment of one name."""
    found: Contents = {}
    for home in homes:
        here = contents(home, logs)
        assert not found.keys() & here.keys()
        found |= here
    return found


@contextmanager
def running(work: "LogRelay | LogLander") -> Iterator[None]:
    """It runs beside the block, and has ended behind it."""
    stopped, failed = threading.Event(), list[Exception]()

    def run() -> None:
        try:
            work.run(stopped.is_set)
        except Exception as error:  # noqa: BLE001 - raised in the test's own thread
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(120.0)
        assert not thread.is_alive()
    if failed:
        raise failed[0]


def numbers(home: Layout) -> list[int]:
    """Numbers of all records that are in a home's log of predictions."""
    import orjson

    lines = [line for text in contents(home).values() for line in text.splitlines()]
    return sorted(orjson.loads(line)["request_id"] for line in lines)


Holds = Callable[[], bool]
