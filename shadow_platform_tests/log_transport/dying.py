"""Relays and landers as processes that are killed: started, killed at any moment, started again.

Belongs here: the processes and the writers beside them. Does not belong here: judging what landed. Run as
``python -m shadow_platform_tests.log_transport.dying relay|land FOLDER SERVERS PROPERTIES PREFIX HOME``, which is the
same loop as ``shadow log`` runs, without what the command line imports. Downstream: the test of kills, and
``benchmarks.log_transport``.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random

from shadow_platform.adapters.kafka import KafkaSettings
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.contracts.layout import Layout
from shadow_platform.log_transport.turns import turn
from shadow_platform_tests import processes
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.log_transport.carried import LOGS, USE_CASE, Way

RELAY, LAND = "relay", "land"
SEGMENT_LINES = 400
_NUMBERS = count()


class Carriers:
    """A relay for each server and one lander, every one a process."""

    def __init__(self, way: Way, broker: Broker, servers: list[str]) -> None:
        self._way, self._broker = way, broker
        self._servers = servers
        self.n_kills = 0
        self._started = {name: self._start(name) for name in [*servers, way.platform.home.name]}

    def kill_one(self, rng: Random) -> None:
        """SIGKILL one of them, at random, and start it again."""
        name = rng.choice(list(self._started))
        self._started[name].signal(signal.SIGKILL)
        self._started[name].process.wait()
        self.n_kills += 1
        self._started[name] = self._start(name)

    def stop(self) -> None:
        """End them all."""
        for process in self._started.values():
            process.stop()

    def _start(self, name: str) -> processes.Started:
        way = self._way
        work = RELAY if name in self._servers else LAND
        place = [str(way.folder), way.kafka.servers, str(self._broker.properties), way.prefix, name]
        command = [sys.executable, "-m", "shadow_platform_tests.log_transport.dying", work, *place]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        return processes.start(command, way.folder / f"{name}-{next(_NUMBERS)}.out", environment, way.folder)


@contextmanager
def writing(homes: list[Layout], lines_per_s: int) -> Iterator[list[int]]:
    """Processes that answer, as far as their logs tell: numbers of the lines that were acknowledged so far."""
    acknowledged, stopped = list[int](), threading.Event()

    def write() -> None:
        sinks: dict[Layout, FileLogSink] = {}
        while not stopped.wait(0.02):
            for home in homes:
                if len(acknowledged) // len(homes) % SEGMENT_LINES < lines_per_s // 50 and home in sinks:
                    sinks.pop(home).close()  # a worker that was restarted: the next line begins a segment
                sink = sinks.setdefault(home, FileLogSink(home.log("predictions", USE_CASE)))
                for _ in range(max(1, lines_per_s // 50 // len(homes))):
                    sink.append({"request_id": len(acknowledged), "padding": "x" * (len(acknowledged) % 1500)})
                    acknowledged.append(len(acknowledged))
        for sink in sinks.values():
            sink.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield acknowledged
    finally:
        stopped.set()
        thread.join()


def main(work: str, folder: str, servers: str, properties: str, prefix: str, name: str) -> None:
    """Relay or land until killed."""
    way = Way(Path(folder), KafkaSettings(servers, Path(properties)), prefix)
    carrier = way.relay(way.server(name)) if work == RELAY else way.lander()
    with turn(way.server(name), USE_CASE, LOGS, lambda: False):
        carrier.run(lambda: False)


if __name__ == "__main__":
    main(*sys.argv[1:])
