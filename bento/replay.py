"""Scores a past period with a challenger that was not live then, by the code that scores live.

Upstream: prediction log, bundles. Downstream: the challenger's shadow log, records marked ``is_replay``.
Live and replay never meet: a live challenger takes what was logged from its deployment (``since``) on, a replay what
was logged before. Each holds a lock of its own, so that no prediction is compared twice.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from bento.models import load_model
from bento.offsets import shadow_records, shadow_root
from bento.scoring import BATCH, ExclusiveWork, Scorer, Sent, append, sent
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform.contracts.deployment import DeployedModel
from shadow_platform.contracts.layout import Layout
from shadow_platform.domain.serving import rfc3339
from shadow_platform.domain.shadow import ShadowPolicy


@dataclass(frozen=True, slots=True)
class ReplayCounts:
    """What became of the predictions of a period: ``sent = compared + failed + dropped``.

    Attributes:
        known: predictions of the period that were compared before.
    """

    sent: int
    compared: int
    failed: int
    dropped: int
    known: int


def replay(
    layout: Layout,
    use_case: str,
    challenger: DeployedModel,
    since: datetime | None = None,
    until: datetime | None = None,
) -> ReplayCounts:
    """Score the logged predictions requested in ``[since, until)`` with a challenger that was not live then.

    Resumes: what the challenger's shadow log already holds (other than dropped) is left alone. What a live challenger
    takes by itself (logged from its deployment on) is left to it.

    Raises:
        AlreadyRunning: another replay of this challenger is under way.
        LogError: the shadow log cannot be written; what was written stands, run it again.
    """
    before = rfc3339(_deployed_since(layout, use_case, challenger.version) or datetime.now(UTC))
    period = [None if at is None else rfc3339(at) for at in (since, until)]
    totals: Counter[str] = Counter()
    with ExclusiveWork(layout, use_case, challenger.version, "replay"):
        root = shadow_root(layout, use_case, challenger.version)
        done = {
            (record.source.segment, record.source.end)
            for record in shadow_records(FileLogSource(root), {})
            if record.outcome != "dropped"
        }
        scorer = Scorer(load_model(layout, challenger), ShadowPolicy(), is_replay=True)
        wanted = _wanted(FileLogSource(layout.log("predictions", use_case)), before, *period)
        sink = FileLogSink(root)
        try:
            while batch := list(islice(wanted, BATCH)):
                new = [found for found in batch if (found[1].segment, found[1].end) not in done]
                totals["known"] += len(batch) - len(new)
                if new:
                    totals += append(sink, scorer.records(new), lambda *_: None)
        finally:
            sink.close()
    compared, failed, dropped = totals["compared"], totals["failed"], totals["dropped"]
    return ReplayCounts(compared + failed + dropped, compared, failed, dropped, totals["known"])


def _wanted(source: FileLogSource, before: str, first: str | None, last: str | None) -> Iterator[Sent]:
    for found in map(sent, source.read({})):
        if found is None or found[0].logged_at >= before:
            continue
        if (first is None or found[0].requested_at >= first) and (last is None or found[0].requested_at < last):
            yield found


def _deployed_since(layout: Layout, use_case: str, version: str) -> datetime | None:
    manifest = read_manifest(layout.manifest(use_case))
    found: Iterable[DeployedModel] = manifest.challengers if manifest else ()
    return next((model.since for model in found if model.version == version), None)
