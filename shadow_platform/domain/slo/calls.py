"""Which call of which model a logged prediction stands for: rows of one batch, fallbacks, versions of before.

Belongs here: what counts, and for whom. Does not belong here: which time counts, reading logs, the verdict
(``judging``). Pure. Upstream: prediction records. Downstream: ``bento.slo_window``, ``evidence``.
"""

from typing import NamedTuple

from shadow_platform.contracts.records import PredictionRecord, Variant

Batch = tuple[Variant, str, float]


class Call(NamedTuple):
    """One call of one model; its latency in milliseconds is ``None`` when the model failed it."""

    variant: Variant
    latency_ms: float | None


class CallCounter:
    """Makes calls of records in the order of their log.

    Args:
        champion_version: whose calls count as the champion's; ``None``: nobody's.
        canary_version: whose calls, with those in which the champion stood in, count as the canary's.
        last_batch: of the row before the first, where a log is read on.

    Attributes:
        last_batch: what the rows of one batch have in common, of the last row that was no fallback.
    """

    def __init__(
        self, *, champion_version: str | None, canary_version: str | None, last_batch: Batch | None = None
    ) -> None:
        self._champion_version = champion_version
        self._canary_version = canary_version
        self.last_batch = last_batch

    def call(self, record: PredictionRecord) -> Call | None:
        """The call that a record is the first of, if it counts.

        The rows of a batch carry the latency of their call, to the last digit: one slow call is one slow request. The
        latency of a fallback is the failed canary's and the champion's together, and says nothing about either.
        """
        if record.is_fallback:
            return Call("canary", None) if self._canary_version is not None else None
        batch = (record.variant, record.logged_at, record.latency_ms)
        if batch == self.last_batch:
            return None
        self.last_batch = batch
        counted = self._canary_version if record.variant == "canary" else self._champion_version
        return Call(record.variant, float(record.latency_ms)) if record.model_version == counted else None
