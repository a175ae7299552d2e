"""An A/A run: a model's newest answers in the log, asked again on the path by which every challenger is asked.

Belongs here: which answers, and asking again: the lane's process and the lane's scorer, in the lane's micro-batches and
row by row, because how requests are cut into batches is where nondeterminism hides. Does not belong here: what a
difference means (``domain.a_a``). Writes nothing: a run is no comparison and never enters the shadow log, nor takes a
lock from a lane. Upstream: prediction log, bundle. Downstream: ``python -m bento.shadow --a-a``.
"""

import heapq
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime

from bento.shadowing.lane_process import LaneProcess
from bento.shadowing.offsets import skip_to_tail
from bento.shadowing.scoring import BATCH, Scorer, Sent, sent
from shadow_platform.adapters.log import FileLogSource
from shadow_platform.contracts.a_a import AskedAgain, OwnAnswer, SelfShadowing
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import PredictionRecord, ShadowRecord
from shadow_platform.domain.shadow import Circuit, IsolationPolicy, ShadowPolicy

CUTS = (BATCH, 1)
LINE_BYTES = 2048
"""More than most answers take in the log."""
FURTHER = 8
"""So much more of the log is read when it held too few answers of the model."""


def shadow_itself(
    layout: Layout,
    use_case: str,
    version: str,
    bundle_hash: str,
    n: int,
    cuts: Sequence[int] = CUTS,
    isolation: IsolationPolicy = IsolationPolicy(),  # noqa: B008 - a frozen value
    circuit: Circuit = Circuit(),  # noqa: B008 - a frozen value
) -> SelfShadowing:
    """The newest ``n`` answers that a model gave as champion, or as many as there are, each beside its own again.

    A request that costs the model its process has no answer again, and after some of them the rest is not asked.

    Raises:
        BundleError: the model cannot be started.
    """
    source = FileLogSource(layout.log("predictions", use_case))
    asked = newest_answers(source, version, bundle_hash, n)
    again: list[list[ShadowRecord]] = []
    with closing(LaneProcess(layout.bundles / bundle_hash, version, isolation)) as process:
        for cut in cuts:
            scorer = Scorer(process, version, is_replay=True, circuit=circuit, tries=isolation.tries)
            batches = (asked[start : start + cut] for start in range(0, len(asked), cut))
            again.append([record for batch in batches for record in scorer.records(batch, ShadowPolicy())])
    answers = [_own(prediction, [given[place] for given in again]) for place, (prediction, _) in enumerate(asked)]
    return SelfShadowing(version=version, bundle_hash=bundle_hash, cuts=tuple(cuts), answers=tuple(answers))


def newest_answers(source: FileLogSource, version: str, bundle_hash: str, n: int) -> list[Sent]:
    """The last ``n`` answers that the model gave as champion, oldest first; reads no more of a long log than needed."""
    n_bytes = n * LINE_BYTES
    while True:
        position: dict[str, int] = {}
        skip_to_tail(source, position, n_bytes, _writer)
        found = heapq.nlargest(n, _answers(source, position, version, bundle_hash), key=_order)
        if len(found) == n or not any(position.values()):
            return found[::-1]
        n_bytes *= FURTHER


def _answers(source: FileLogSource, position: dict[str, int], version: str, bundle_hash: str) -> Iterator[Sent]:
    for found in filter(None, map(sent, source.read(position))):
        prediction, _ = found
        is_own = (prediction.model_version, prediction.bundle_hash) == (version, bundle_hash)
        if is_own and prediction.variant == "champion" and not prediction.is_fallback:
            yield found


def _order(found: Sent) -> tuple[str, str, str]:
    prediction, _ = found
    return prediction.logged_at, prediction.requested_at, prediction.request_id


def _writer(segment: str) -> str:
    """Process that wrote a segment: the tail of each is read, because one worker alone may have stale features."""
    return segment.rpartition("/")[2].partition("-")[0]


def _own(prediction: PredictionRecord, again: Sequence[ShadowRecord]) -> OwnAnswer:
    return OwnAnswer(
        request_id=prediction.request_id,
        requested_at=datetime.fromisoformat(prediction.requested_at),
        probability=prediction.probability,
        prediction=prediction.prediction,
        feature_age_s=prediction.feature_age_s,
        again=tuple(map(_again, again)),
    )


def _again(record: ShadowRecord) -> AskedAgain:
    answer = record.challenger
    error = answer.error or (record.drop_reason and f"not asked: {record.drop_reason}")
    return AskedAgain(probability=answer.probability, prediction=answer.prediction, error=error)
