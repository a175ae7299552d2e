"""Callers that go on asking whatever happens to the service, and remember every answer they got.

Belongs here: load and what callers saw. Does not belong here: what the logs say (``ledger``), what goes wrong.
Upstream: a running service of use case ``shop``. Downstream: chaos tests and ``benchmarks.chaos``.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import httpx

from shadow_platform_tests.bento.helpers import body_of, wait_until

TIMEOUT_S = 60.0


class Answer(NamedTuple):
    """One acknowledged answer to the request of this number; ``answered_at`` in seconds of the monotonic clock."""

    number: int
    request_id: str
    version: str
    probability: float
    answered_at: float


@dataclass
class Load:
    """Requests from several callers, repeating until told to stop.

    Attributes:
        body_of: request of an index.
        keeps_alive: each caller stays on one connection, so with one worker; else every request may meet another.
        answers: every acknowledged answer.
        refusals: status and body of every answer but 200.
        unreachable: requests that got no answer at all, because the process that had them was killed.
    """

    url: str
    keeps_alive: bool = True
    body_of: Callable[[int], Mapping[str, object]] = body_of
    answers: list[Answer] = field(default_factory=list)
    refusals: list[tuple[int, str]] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self, n_callers: int = 4) -> Iterator["Load"]:
        """Ask while the block runs."""
        threads = [threading.Thread(target=self._ask, args=(n * 1_000_000,)) for n in range(n_callers)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    @property
    def acknowledged(self) -> list[str]:
        """Request id of every answer, in the order of arrival."""
        return [answer.request_id for answer in self.answers]

    @property
    def versions(self) -> set[str]:
        """Versions that answered."""
        return {answer.version for answer in self.answers}

    @property
    def statuses(self) -> Counter[int]:
        """Number of answers by status."""
        return Counter([200] * len(self.answers) + [status for status, _ in self.refusals])

    def more_answers(self, n: int, timeout_s: float = 180.0) -> None:
        """Wait until this many more requests were answered."""
        goal = len(self.answers) + n
        wait_until(lambda: len(self.answers) >= goal, f"{n} more answers", timeout_s)

    def _ask(self, first: int) -> None:
        limits = httpx.Limits(max_keepalive_connections=1 if self.keeps_alive else 0)
        with httpx.Client(base_url=self.url, timeout=TIMEOUT_S, limits=limits) as client:
            for index in count(first):
                if self._stop.is_set():
                    return
                try:
                    response = client.post("/predict", json=self.body_of(index))
                except httpx.TransportError as error:
                    self.unreachable.append(type(error).__name__)
                    time.sleep(0.02)
                    continue
                if response.status_code == 200:
                    self.answers.append(answer_of(index, response.json()))
                else:
                    self.refusals.append((response.status_code, response.text))
                    time.sleep(0.02)


def answer_of(index: int, document: dict[str, Any]) -> Answer:
    """What an answer's body says."""
    version, probability = document["model_version"], document["purchase_probability"]
    return Answer(index, document["request_id"], version, probability, time.monotonic())
