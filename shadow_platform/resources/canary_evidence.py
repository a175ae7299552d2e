"""Reads the prediction log of a canary's step on from where the last reader came, and keeps that beside the rollout.

Belongs here: reading. Does not belong here: what counts (``domain.slo``), the file of what was read
(``adapters.deployment.canary_evidence``). Upstream: prediction log. Downstream: ``rollouts``.

A day of a busy service is tens of millions of lines, and a sensor's tick has a minute: who must be quick reads a number
of lines at a time, and whoever comes next, in this process or another, goes on. Two who read at once do the same work,
and what either keeps is right.
"""

from datetime import datetime

from shadow_platform.adapters.deployment.canary_evidence import read_canary_evidence, write_canary_evidence
from shadow_platform.adapters.log import FileLogSource, decode_prediction
from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.rollouts import CanaryEvidence
from shadow_platform.domain.slo import EvidenceTaker


def read_on(layout: Layout, step: CanaryEvidence, limit: int | None = None) -> CanaryEvidence:
    """The evidence of a step, with what the log holds beyond what was read of it before.

    Args:
        step: evidence of the step with nothing in it.
        limit: lines of the log that are read at most; ``None``: all.
    """
    source = FileLogSource(layout.log("predictions", step.use_case), step.since)
    begun = _begun(read_canary_evidence(layout, step.use_case), step, dict(source.segments()))
    taker = EvidenceTaker(begun)
    for line in source.read(begun.after, limit):
        taker.passed(line.offset.segment, line.offset.end)
        if b'"canary"' in line.payload or b'"is_fallback":true' in line.payload:
            _take(taker, line.offset.segment, line.payload)
    found = taker.taken()
    if found.after != begun.after:
        write_canary_evidence(layout, found)
    return found


def _take(taker: EvidenceTaker, segment: str, payload: bytes) -> None:
    """Take up a line; one that is no prediction is left out."""
    try:
        record = decode_prediction(payload)
        taker.take(segment, record, datetime.fromisoformat(record.logged_at))
    except (LogError, ValueError, TypeError, AttributeError):
        return


def _begun(kept: CanaryEvidence | None, step: CanaryEvidence, sizes: dict[str, int]) -> CanaryEvidence:
    """What was read of the step before; nothing when that was of another, or of a log that has lost lines since."""
    if kept is None or not kept.is_of(step):
        return step
    is_there = all(end <= sizes.get(segment, end) for segment, end in kept.after.items())
    return kept if is_there else step
