"""Scores logged predictions with one challenger and appends what came of it; the same code live and in a replay.

Upstream: prediction log, a loaded challenger. Downstream: the challenger's shadow log. Knows no manifest, no clock but
the wall clock of a comparison, and no other challenger.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import perf_counter

from filelock import FileLock, Timeout

from bento.models import LoadedModel
from bento.offsets import decoded
from shadow_platform.contracts.errors import AlreadyRunning
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LoggedLine, LogSink
from shadow_platform.contracts.records import PredictionRecord, ShadowRecord, SourceOffset
from shadow_platform.domain.serving import rfc3339
from shadow_platform.domain.shadow import Challenger, DropReason, Score, ShadowPolicy, compare

BATCH = 512
MAX_ERROR = 500

Sent = tuple[PredictionRecord, SourceOffset]
CountOutcome = Callable[[str, str, int], None]


class Scorer:
    """Turns predictions into shadow records with one challenger."""

    def __init__(self, model: LoadedModel, policy: ShadowPolicy, *, is_replay: bool) -> None:
        self._bundle = model.bundle
        self._policy = policy
        self._is_replay = is_replay
        self.challenger = Challenger(model.deployed.version, model.bundle.manifest.threshold)

    def records(self, sent: Sequence[Sent]) -> list[ShadowRecord]:
        """Exactly one record a prediction, in order, whatever the challenger does."""
        now = datetime.now(UTC)
        scores = [Score(drop_reason=self._drop_reason(prediction, now)) for prediction, _ in sent]
        asked = [index for index, score in enumerate(scores) if score.drop_reason is None]
        for index, score in zip(asked, self._score([sent[index][0] for index in asked]), strict=True):
            scores[index] = score
        compared_at = rfc3339(datetime.now(UTC))
        return [
            compare(prediction, offset, self.challenger, score, compared_at=compared_at, is_replay=self._is_replay)
            for (prediction, offset), score in zip(sent, scores, strict=True)
        ]

    def _drop_reason(self, prediction: PredictionRecord, now: datetime) -> DropReason | None:
        if self._is_replay:
            return None
        return self._policy.drop_reason(prediction.request_id, lag_s(prediction, now))

    def _score(self, predictions: Sequence[PredictionRecord]) -> list[Score]:
        """Scores of a micro-batch; when it fails as a whole, each prediction is tried alone."""
        if not predictions:
            return []
        started = perf_counter()
        try:
            matrix, _ = self._bundle.encode([prediction.features for prediction in predictions])
            probabilities = self._bundle.predict(matrix).tolist()
        except Exception as error:  # noqa: BLE001 - whatever a challenger raises is an observation
            if len(predictions) > 1:
                return [score for prediction in predictions for score in self._score([prediction])]
            return [Score(error=f"{type(error).__name__}: {error}"[:MAX_ERROR])]
        latency_ms = (perf_counter() - started) * 1000.0 / len(predictions)
        if len(probabilities) != len(predictions):
            return [Score(error=f"gave {len(probabilities)} numbers for {len(predictions)} rows") for _ in predictions]
        return [Score(probability, latency_ms) for probability in probabilities]


def append(sink: LogSink, records: Sequence[ShadowRecord], count: CountOutcome) -> Counter[str]:
    """Append a batch with one write, then count it; raises ``LogError``."""
    sink.append_many(records)
    outcomes = Counter(record.outcome for record in records)
    for outcome, n in outcomes.items():
        count(records[0].challenger.model_version, outcome, n)
    return Counter(outcomes)


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
