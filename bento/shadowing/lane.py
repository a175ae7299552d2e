"""One live challenger: follows the prediction log from its deployment on and records what the challenger made of it.

Belongs here: the loop of one challenger, in a thread of the shadow worker; the model itself runs in a process of its
own. Does not belong here: which challengers there are (``bento.shadow``), scoring (``bento.shadowing.scoring``).
Upstream: prediction log, bundle. Downstream: the challenger's shadow log, its progress file, metrics.
"""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

from bento.shadowing.lane_process import LaneProcess
from bento.shadowing.lane_progress import Progress, live_log, read_progress, recover, write_progress
from bento.shadowing.offsets import predictions_since, shadow_root
from bento.shadowing.scoring import BATCH, ExclusiveWork, Scorer, Sent, sent
from bento.shadowing.shadow_metrics import ShadowMetrics
from bento.shadowing.shadow_spans import ShadowSpans
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform.contracts.deployment import DeployedModel
from shadow_platform.contracts.errors import AlreadyRunning, ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.domain.serving import rfc3339
from shadow_platform.domain.shadow import Circuit, IsolationPolicy, ShadowPolicy
from shadow_platform.telemetry.logs import problem_of

LOGGER = logging.getLogger("shadow_platform.shadow")

IDLE_S = 0.05
CHECKPOINT_S = 1.0
RETRY_S = 1.0
LONGEST_RETRY_S = 15.0
STEADY_S = 30.0
"""A lane that went well for this long tries again soon when it meets a problem."""
GRACE = timedelta(seconds=2)
"""A prediction may be appended this long after the time it carries."""
LANDED_GRACE = timedelta(minutes=2)
"""One that comes from another machine may land this long after that."""


class Lane:
    """One live challenger, in a thread of its own.

    Args:
        deployed: the challenger; its sample rate and lag limit may change while it runs (``update``).
        grace: how late a prediction may come, once the challenger left the shadow.
    """

    def __init__(
        self,
        layout: Layout,
        use_case: str,
        deployed: DeployedModel,
        metrics: ShadowMetrics,
        isolation: IsolationPolicy = IsolationPolicy(),  # noqa: B008 - a frozen value
        circuit: Circuit = Circuit(),  # noqa: B008 - a frozen value
        grace: timedelta = GRACE,
        spans: ShadowSpans | None = None,
    ) -> None:
        self.deployed = deployed
        self._grace = grace
        self._spans = spans
        self._layout = layout
        self._use_case = use_case
        self._metrics = metrics
        self._process = LaneProcess(layout.bundles / deployed.bundle_hash, deployed.version, isolation)
        self._scorer = Scorer(self._process, deployed.version, is_replay=False, circuit=circuit, tries=isolation.tries)
        self._path = layout.shadow_progress(use_case, deployed.version)
        self._since = rfc3339(deployed.since)
        self._until: datetime | None = None
        self._oldest_waiting: str | None = None
        self._saved = self._own_progress()
        self._saved_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"challenger-{deployed.version}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def update(self, deployed: DeployedModel) -> None:
        """Sample and drop by this policy from the next micro-batch on."""
        self.deployed = deployed

    def retire(self, at: datetime) -> None:
        """Compare what was logged until then, and end; end at once when a replay took that over."""
        self._until = at

    def stop(self) -> None:
        """End after the batch under way; the next start continues behind it."""
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end."""
        self._thread.join(timeout_s)

    @property
    def is_alive(self) -> bool:
        """Whether it still follows the log."""
        return self._thread.is_alive()

    @property
    def pid(self) -> int | None:
        """Process id of the model, if it runs."""
        return self._process.pid

    def report(self) -> None:
        """Set the gauges. Called from beside the lane, so that a lane that waits for a hanging model lags visibly."""
        waiting, lag_s = self._oldest_waiting, 0.0
        if waiting is not None:
            lag_s = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(waiting)).total_seconds())
        self._metrics.state(self.deployed.version, lag_s, self._scorer.circuit.state)

    def _run(self) -> None:
        retry_s = RETRY_S
        try:
            while not self._stop.is_set():
                began_at = time.monotonic()
                try:
                    with ExclusiveWork(self._layout, self._use_case, self.deployed.version, "live"):
                        if not self._is_taken_over():
                            self._follow_or_say_why()
                    return
                except AlreadyRunning:
                    self._stop.wait(RETRY_S)
                except Exception as error:  # noqa: BLE001 - the next round starts from what the shadow log says
                    is_steady = time.monotonic() - began_at > STEADY_S
                    retry_s = RETRY_S if is_steady else min(retry_s * 2, LONGEST_RETRY_S)
                    said = error if isinstance(error, ShadowPlatformError) else problem_of(error)
                    LOGGER.error("challenger %s: %s; again in %g s", self.deployed.version, said, retry_s)
                    self._stop.wait(retry_s)
        finally:
            self._process.close()

    def _follow_or_say_why(self) -> None:
        try:
            self._follow()
        except Exception as error:
            self._note_problem(str(error))
            raise

    def _follow(self) -> None:
        log = live_log(self._layout, self._use_case, self.deployed)
        after = recover(log, read_progress(self._path), self.deployed)
        source = predictions_since(self._layout, self._use_case, self.deployed.since)
        with closing(FileLogSink(shadow_root(self._layout, self._use_case, self.deployed.version))) as sink:
            while not self._stop.is_set():
                lines = list(source.read(after, limit=BATCH))
                mine = [found for found in map(sent, lines) if found and self._is_mine(found[0])]
                self._compare(mine, sink)
                for line in lines:
                    after[line.offset.segment] = line.offset.end
                if not lines and self._is_over():
                    self._path.unlink(missing_ok=True)
                    return
                is_idle = len(lines) < BATCH
                if is_idle:
                    self._oldest_waiting = None
                self._checkpoint(sink, log, after)
                if is_idle:
                    self._stop.wait(IDLE_S)

    def _is_mine(self, prediction: PredictionRecord) -> bool:
        until = self._until
        return prediction.logged_at >= self._since and (until is None or prediction.logged_at < rfc3339(until))

    def _is_taken_over(self) -> bool:
        """Whether a replay removed the progress of this lane, which had left the shadow, to score what it was due."""
        return self._until is not None and self._saved is not None and not self._path.exists()

    def _is_over(self) -> bool:
        return self._until is not None and datetime.now(UTC) > self._until + self._grace

    def _compare(self, mine: Sequence[Sent], sink: FileLogSink) -> None:
        """Append one record a prediction with one write, then count them."""
        if not mine:
            return
        started_ns = time.time_ns()
        self._oldest_waiting = min(prediction.logged_at for prediction, _ in mine)
        policy = ShadowPolicy(self.deployed.max_lag_s, self.deployed.sample_rate)
        records = self._scorer.records(mine, policy)
        sink.append_many(records)
        self._metrics.count(records)
        if self._spans is not None:
            self._spans.report(self.deployed.version, records, started_ns, time.time_ns())

    def _checkpoint(self, sink: FileLogSink, log: FileLogSource, after: dict[str, int]) -> None:
        """Save how far the lane is, now and then; only ever behind the append of what it says."""
        now = time.monotonic()
        if now - self._saved_at < CHECKPOINT_S:
            return
        self._saved_at = now
        progress = Progress(
            deployed=self.deployed,
            until=self._until,
            after=dict(after),
            covered=dict(log.segments()),
            circuit=self._scorer.circuit.state,
        )
        if progress != self._saved:
            sink.sync()
            write_progress(self._path, progress)
            self._saved = progress

    def _own_progress(self) -> Progress | None:
        """What the last run of this deployment left, so that a problem at the start does not cost it."""
        progress = read_progress(self._path)
        return progress if progress is not None and progress.deployed.since == self.deployed.since else None

    def _note_problem(self, problem: str) -> None:
        saved = self._saved or Progress(deployed=self.deployed, until=self._until, after={}, covered={})
        self._saved = saved.model_copy(update={"problem": problem, "until": self._until})
        write_progress(self._path, self._saved)
