"""What a canary's calls in one step say so far, in bounded memory; a later reading goes on from there.

Belongs here: taking up records, and which calls are kept for the verdict. Does not belong here: reading the log and
keeping the evidence (``resources.canary_evidence``), the verdict (``judging``). Pure. Upstream: prediction records.
Downstream: the steps of a rollout.

All calls are kept until there are too many; then those whose draw ends in a zero bit more, about every second, and so
on. The draw is a hash of the request's id, so what is kept is a random sample of the whole step, and the same sample
however often the reading was interrupted, and in whatever order segments were read.
"""

from datetime import datetime
from hashlib import blake2b
from operator import itemgetter

from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.contracts.rollouts import CanaryEvidence, KeptCall
from shadow_platform.domain.slo.calls import CallCounter
from shadow_platform.domain.slo.judging import Objectives

MAX_CALLS = 20_000
"""A sample of half as many finds a failing share of 1.5 times a limit of 1 %."""
_DRAW_BYTES = 6


def most_calls(objectives: Objectives) -> int:
    """How many calls are kept at most: of a sample of them there must be a verdict."""
    return max(MAX_CALLS, 4 * objectives.min_requests)


class EvidenceTaker:
    """Takes up what was logged since the evidence it begins with."""

    def __init__(self, begun: CanaryEvidence) -> None:
        self._begun = begun
        self._after = dict(begun.after)
        self._batches = dict(begun.batches)
        self._n_requests, self._n_halvings = begun.n_requests, begun.n_halvings
        self._calls: list[KeptCall] = list(begun.calls)

    def take(self, segment: str, record: PredictionRecord, at: datetime) -> None:
        """Take up a record that was logged at a time, if that is after the step began."""
        version = self._begun.version
        if at <= self._begun.since:
            return
        self._n_requests += record.variant == "canary" and record.model_version == version
        counter = CallCounter(champion_version=None, canary_version=version, last_batch=self._batches.get(segment))
        call = counter.call(record)
        if counter.last_batch is not None:
            self._batches[segment] = counter.last_batch
        if call is not None:
            self._keep((at.timestamp(), _draw(record.request_id), call.latency_ms))

    def passed(self, segment: str, end: int) -> None:
        """Note that a segment was read up to a byte."""
        self._after[segment] = end

    def taken(self) -> CanaryEvidence:
        """The evidence so far."""
        return self._begun.model_copy(
            update={
                "after": self._after,
                "batches": self._batches,
                "n_requests": self._n_requests,
                "n_halvings": self._n_halvings,
                "calls": tuple(self._calls),
            }
        )

    def _keep(self, call: KeptCall) -> None:
        if not self._is_kept(call):
            return
        self._calls.append(call)
        while len(self._calls) > self._begun.most and self._n_halvings < 8 * _DRAW_BYTES:
            self._n_halvings += 1
            self._calls = [call for call in self._calls if self._is_kept(call)]

    def _is_kept(self, call: KeptCall) -> bool:
        return call[1] % (1 << self._n_halvings) == 0


def latencies_of(evidence: CanaryEvidence) -> list[float | None]:
    """Latencies of the calls that were kept, milliseconds, oldest first; ``None`` for one that the canary failed."""
    return [latency_ms for _, _, latency_ms in sorted(evidence.calls, key=itemgetter(0, 1))]


def _draw(request_id: str) -> int:
    return int.from_bytes(blake2b(request_id.encode(), digest_size=_DRAW_BYTES).digest())
