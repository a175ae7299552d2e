"""Scores a past period with any registered version, by the code that scores live; resumes where it was ended.

Upstream: prediction log, bundles. Downstream: the challenger's shadow log, records marked ``is_replay``.
Live and replay never meet: a live challenger takes what is logged from its deployment (``since``) on, a replay what was
logged before, and what the live challenger dropped. Each holds a lock of its own and writes segments of its own. A
version that is not deployed is the replay's alone: it holds both locks, and takes over what the version was still due.
"""

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice

from bento.shadowing.lane_process import LaneProcess
from bento.shadowing.offsets import shadow_records, shadow_root
from bento.shadowing.scoring import BATCH, ExclusiveWork, Scorer, Sent, sent
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform.contracts.deployment import DeployedModel
from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import ShadowRecord
from shadow_platform.domain.serving import rfc3339
from shadow_platform.domain.shadow import Circuit, IsolationPolicy, ShadowPolicy

CLOCK_TOLERANCE = timedelta(days=1)
"""A request is logged no earlier than this before the time it is made for."""
REPORT_S = 1.0


@dataclass(frozen=True, slots=True)
class ReplayCounts:
    """What became of the predictions of a period: ``sent = compared + failed + dropped``.

    Attributes:
        dropped: always 0; a replay has time to wait.
        known: predictions of the period that were compared before, or are left to the live challenger.
    """

    sent: int
    compared: int
    failed: int
    dropped: int
    known: int


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far a replay is; ``eta_s`` is null before anything can be said."""

    done: int
    total: int
    rate_per_s: float
    eta_s: float | None


Report = Callable[[ReplayProgress], None]


class _Wanted:
    """Which predictions a replay scores: those of the period that no record answers and no live lane will.

    Args:
        before: what was logged later is the live challenger's, unless it was dropped.
        period: first request time, and the end; ``None``: unbounded.
    """

    def __init__(self, shadow_log: FileLogSource, before: str, period: tuple[str | None, str | None]) -> None:
        self._before = before
        self._first, self._last = period
        self._answered: dict[str, array[int]] = {}
        self._dropped: dict[str, array[int]] = {}
        for record in shadow_records(shadow_log, {}):
            ends = self._dropped if record.outcome == "dropped" else self._answered
            ends.setdefault(record.source.segment, array("q")).append(record.source.end)
        if shadow_log.unreadable:
            raise LogError(
                f"{', '.join(shadow_log.unreadable)} cannot be read and would be scored twice; make it readable"
            )
        self._set_of = lru_cache(maxsize=2)(self._as_set)

    def among(self, source: FileLogSource) -> Iterator[Sent | None]:
        """Every prediction of the period: to score, or ``None`` when there is nothing left to do."""
        for found in filter(None, map(sent, source.read({}))):
            requested_at = found[0].requested_at
            if (self._first is None or requested_at >= self._first) and (
                self._last is None or requested_at < self._last
            ):
                yield found if self._is_due(found) else None

    def _is_due(self, found: Sent) -> bool:
        prediction, offset = found
        if offset.end in self._set_of(offset.segment, True):
            return False
        return prediction.logged_at < self._before or offset.end in self._set_of(offset.segment, False)

    def _as_set(self, segment: str, is_answered: bool) -> frozenset[int]:
        """Ends of one segment, eight bytes each until the segment's turn comes."""
        return frozenset((self._answered if is_answered else self._dropped).get(segment, ()))


def replay(
    layout: Layout,
    use_case: str,
    challenger: DeployedModel,
    since: datetime | None = None,
    until: datetime | None = None,
    report: Report | None = None,
    isolation: IsolationPolicy = IsolationPolicy(),  # noqa: B008 - a frozen value
    circuit: Circuit = Circuit(),  # noqa: B008 - a frozen value
) -> ReplayCounts:
    """Score the logged predictions requested in ``[since, until)`` that the version has not answered yet.

    Resumes: what its shadow log already holds (other than dropped) is left alone. What a live challenger takes by
    itself (logged from its deployment on) is left to it, except what it dropped. Drops nothing: a version that keeps
    losing its process is asked again after the circuit's pause.

    Args:
        report: told every second how far it is.

    Raises:
        AlreadyRunning: another replay of this version is under way, or it left the shadow and is still busy.
        BundleError: the model cannot be started.
        LogError: the shadow log cannot be written; what was written stands, run it again.
    """
    now = datetime.now(UTC)
    with ExclusiveWork(layout, use_case, challenger.version, "replay"), ExitStack() as held:
        deployed_since = _deployed_since(layout, use_case, challenger.version)
        if deployed_since is None:
            held.enter_context(ExclusiveWork(layout, use_case, challenger.version, "live"))
        wanted = _wanted(layout, use_case, challenger.version, deployed_since or now, (since, until))
        source = FileLogSource(layout.log("predictions", use_case), since=since and since - CLOCK_TOLERANCE)
        meter = _Meter(sum(found is not None for found in wanted.among(source)), report) if report else None
        process = LaneProcess(layout.bundles / challenger.bundle_hash, challenger.version, isolation)
        held.enter_context(closing(process))
        scorer = Scorer(process, challenger.version, is_replay=True, circuit=circuit, tries=isolation.tries)
        sink = held.enter_context(closing(FileLogSink(shadow_root(layout, use_case, challenger.version))))
        totals: Counter[str] = Counter()
        predictions = wanted.among(source)
        while batch := list(islice(predictions, BATCH)):
            new = [found for found in batch if found is not None]
            totals["known"] += len(batch) - len(new)
            for records in _scored(scorer, new):
                if deployed_since is None:
                    _take_over(layout, use_case, challenger.version)
                sink.append_many(records)
                totals.update(record.outcome for record in records)
                if meter:
                    meter.add(len(records))
        if meter:
            meter.say()
    outcomes = {name: totals[name] for name in ("compared", "failed", "dropped")}
    return ReplayCounts(sent=sum(outcomes.values()), known=totals["known"], **outcomes)


def _scored(scorer: Scorer, due: Sequence[Sent]) -> Iterator[list[ShadowRecord]]:
    """Records of all, none dropped: what an open circuit refuses, always the rest, is asked again after its pause."""
    while due:
        records = [record for record in scorer.records(due, ShadowPolicy()) if record.outcome != "dropped"]
        yield records
        due = due[len(records) :]
        if due and scorer.circuit.state == "open":
            time.sleep(scorer.circuit.policy.pause_s)


def _take_over(layout: Layout, use_case: str, version: str) -> None:
    """Before the first record: a lane that left the shadow and still retries would score the same again."""
    layout.shadow_progress(use_case, version).unlink(missing_ok=True)


def _wanted(
    layout: Layout, use_case: str, version: str, before: datetime, period: tuple[datetime | None, datetime | None]
) -> _Wanted:
    since, _ = period
    log = FileLogSource(shadow_root(layout, use_case, version), since=since and since - CLOCK_TOLERANCE)
    first, last = (None if at is None else rfc3339(at) for at in period)
    return _Wanted(log, rfc3339(before), (first, last))


def _deployed_since(layout: Layout, use_case: str, version: str) -> datetime | None:
    manifest = read_manifest(layout.manifest(use_case))
    found: Iterable[DeployedModel] = manifest.challengers if manifest else ()
    return next((model.since for model in found if model.version == version), None)


class _Meter:
    """Says now and then how far a replay is."""

    def __init__(self, total: int, report: Report) -> None:
        self._total = total
        self._report = report
        self._done = 0
        self._started_at = self._said_at = time.monotonic()

    def add(self, n: int) -> None:
        """So many more are done."""
        self._done += n
        if time.monotonic() - self._said_at >= REPORT_S:
            self.say()

    def say(self) -> None:
        """Report now."""
        self._said_at = time.monotonic()
        rate = self._done / max(self._said_at - self._started_at, 1e-9)
        eta_s = (self._total - self._done) / rate if rate else None
        self._report(ReplayProgress(self._done, self._total, round(rate, 1), eta_s and round(eta_s, 1)))
