"""Makes shadow records of logged predictions with one challenger; the same code live and in a replay.

Belongs here: who is asked, and who is to blame when the challenger's process is lost. Does not belong here: following a
log (``bento.shadowing.lane``, ``bento.shadowing.replay``), the process itself (``bento.shadowing.lane_process``). Knows
no manifest and no other challenger. Upstream: prediction log, the challenger's process. Downstream: the challenger's
shadow log.
"""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from filelock import FileLock, Timeout

from bento.shadowing.lane_process import ChallengerLost, Features
from bento.shadowing.offsets import decoded
from shadow_platform.contracts.errors import AlreadyRunning
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LoggedLine
from shadow_platform.contracts.records import PredictionRecord, ShadowRecord, SourceOffset
from shadow_platform.domain.serving import rfc3339
from shadow_platform.domain.shadow import Challenger, Circuit, Result, Score, ShadowPolicy, compare

LOGGER = logging.getLogger("shadow_platform.scoring")

BATCH = 512

Sent = tuple[PredictionRecord, SourceOffset]


class Model(Protocol):
    """What scores: ``LaneProcess``."""

    @property
    def threshold(self) -> float:
        """Decision threshold, once it scored."""

    def score(self, rows: Sequence[Features]) -> list[Score]:
        """One score a row; raises ``ChallengerLost`` when the model took its process with it."""


class Scorer:
    """Turns predictions into shadow records with one challenger, behind a circuit breaker.

    Args:
        is_replay: nothing waits for a replay, so that only a lost process counts for its circuit, not a failure.
    """

    def __init__(
        self,
        model: Model,
        version: str,
        *,
        is_replay: bool,
        circuit: Circuit = Circuit(),  # noqa: B008 - a frozen value
        tries: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._version = version
        self._is_replay = is_replay
        self._tries = tries
        self._clock = clock
        self.circuit = circuit

    def records(self, sent: Sequence[Sent], policy: ShadowPolicy) -> list[ShadowRecord]:
        """Exactly one record a prediction, in order, whatever the challenger does; raises ``BundleError``."""
        now = datetime.now(UTC)
        scores = [Score(drop_reason=policy.drop_reason(p.request_id, lag_s(p, now))) for p, _ in sent]
        asked = [index for index, score in enumerate(scores) if score.drop_reason is None]
        self.circuit = self.circuit.at(self._clock())
        n_admitted = self.circuit.admitted(len(asked))
        admitted = self._scores([sent[index][0].features for index in asked[:n_admitted]])
        for index, score in zip(asked, [*admitted, *[_NOT_ADMITTED] * (len(asked) - n_admitted)], strict=True):
            scores[index] = score
        compared_at = rfc3339(datetime.now(UTC))
        challenger = Challenger(self._version, self._model.threshold)
        return [
            compare(prediction, offset, challenger, score, compared_at=compared_at, is_replay=self._is_replay)
            for (prediction, offset), score in zip(sent, scores, strict=True)
        ]

    def _scores(self, rows: Sequence[Features]) -> list[Score]:
        """Scores of a micro-batch; when it costs the challenger its process, each row is tried alone."""
        if not rows:
            return []
        try:
            scores = self._model.score(rows)
        except ChallengerLost as lost:
            LOGGER.warning("challenger %s, %d predictions: %s; trying each alone", self._version, len(rows), lost)
            return [self._score_alone(row) for row in rows]
        self._note([score.result for score in scores])
        return scores

    def _score_alone(self, row: Features) -> Score:
        """Score of one row, which fails when it costs the process again and again."""
        if self.circuit.state == "open":
            return _NOT_ADMITTED
        score = _NOT_ADMITTED
        for _ in range(self._tries):
            try:
                score = self._model.score([row])[0]
                break
            except ChallengerLost as lost:
                score = Score(error=str(lost), is_lost=True)
        self._note([score.result])
        return score

    def _note(self, results: Sequence[Result]) -> None:
        before = self.circuit.state
        if self._is_replay:
            results = ["lost" if result == "lost" else "answered" for result in results]
        self.circuit = self.circuit.after(results, self._clock())
        if self.circuit.state != before:
            LOGGER.warning("challenger %s: circuit %s, was %s", self._version, self.circuit.state, before)


_NOT_ADMITTED = Score(drop_reason="circuit_open")


def sent(line: LoggedLine) -> Sent | None:
    """A line as what a challenger is sent; ``None`` when it is unreadable."""
    prediction = decoded(line)
    return None if prediction is None else (prediction, line.offset)


def lag_s(prediction: PredictionRecord, now: datetime) -> float:
    """Age of a prediction, seconds since it was logged."""
    return max(0.0, (now - datetime.fromisoformat(prediction.logged_at)).total_seconds())


class ExclusiveWork:
    """Lock of one challenger's live or replay work; raises ``AlreadyRunning`` at once."""

    def __init__(self, layout: Layout, use_case: str, version: str, kind: str) -> None:
        path = layout.locks(f"shadow-{use_case}-{version}-{kind}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path, timeout=0)

    def __enter__(self) -> None:
        try:
            self._lock.acquire()
        except Timeout:
            raise AlreadyRunning(
                f"another process scores with this challenger (lock {self._lock.lock_file}); wait for it, or end it"
            ) from None

    def __exit__(self, *_: object) -> None:
        self._lock.release()
