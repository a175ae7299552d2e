"""Answers requests: validate, complete, score, append, answer.

Belongs here: the order of the steps of one answer, and what a caller is told when one fails. Does not belong here:
routes (``bento.api.app``), rules (``domain.serving``), which model answers whom (``bento.answering.models``,
``bento.answering.variants``). Upstream: bodies of requests. Downstream: the prediction log, then the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter, time
from typing import Protocol

import orjson
import uuid_utils

from bento.answering.failures import FailureLog
from bento.answering.features import RequestFeatures
from bento.answering.idempotency import AnswerCache, check_key, request_id_of
from bento.answering.metrics import ServiceMetrics
from bento.answering.models import ModelWatcher, Serving
from bento.answering.variants import ModelFailure, VariantScorer
from bento.http import ProblemError, parse_json
from shadow_platform.contracts.errors import LogError, RequestError
from shadow_platform.contracts.ports import LogSink
from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.exploration import ExplorationRule
from shadow_platform.domain.serving import (
    ModelOutput,
    RequestContract,
    ServedFeatures,
    ValidRequest,
    build_answer,
    build_record,
    parse_as_of,
    rfc3339,
    risk_category,
)
from shadow_platform.telemetry.context import REQUEST, RequestContext


class CheckedSink(LogSink, Protocol):
    """A sink that can tell whether it would append."""

    def check(self) -> None:
        """Raise ``LogError`` when nothing can be appended."""


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """Headers that change an answer."""

    as_of: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class PredictorOptions:
    """What the settings say about answers."""

    max_batch_size: int = 1000
    is_as_of_allowed: bool = True


class Clock:
    """Wall clock as text; the text of a second is kept, because making it for each answer took 5 % of its time."""

    def __init__(self) -> None:
        self._second, self._text = -1, ""

    def text(self, at: float) -> str:
        """RFC 3339 UTC with milliseconds, of seconds since the epoch."""
        second = int(at)
        if second != self._second:
            self._second, self._text = second, rfc3339(datetime.fromtimestamp(second, UTC))[:-4]
        return f"{self._text}{int((at - second) * 1000):03d}Z"


class Predictor:
    """Everything one worker needs to answer; ``sink`` gets each answer before the caller does."""

    def __init__(
        self,
        use_case: UseCase,
        models: ModelWatcher,
        sink: CheckedSink,
        metrics: ServiceMetrics,
        contract: RequestContract,
        features: RequestFeatures,
        options: PredictorOptions,
        failures: FailureLog,
        answers: AnswerCache,
        scorer: VariantScorer,
    ) -> None:
        self.use_case = use_case
        self.models = models
        self.sink = sink
        self.metrics = metrics
        self._contract = contract
        self._features = features
        self._options = options
        self._failures = failures
        self._answers = answers
        self._scorer = scorer
        self._exploration = ExplorationRule.of(use_case)
        self._clock = Clock()

    async def answer(self, body: bytes, headers: RequestHeaders) -> bytes:
        """Body of the answer to one request; raises ``ProblemError``."""
        return await self._once("single", body, headers)

    async def answer_batch(self, body: bytes, headers: RequestHeaders) -> bytes:
        """Body of the answers to a list, in its order; raises ``ProblemError``."""
        return await self._once("batch", body, headers)

    async def _once(self, kind: str, body: bytes, headers: RequestHeaders) -> bytes:
        try:
            key = headers.idempotency_key
            if key is None:
                return await self._answer(kind, body, headers)
            check_key(key)
            said = body if headers.as_of is None else f"{headers.as_of}\n".encode() + body
            return await self._answers.once(f"{kind} {key}", said, lambda: self._answer(kind, body, headers))
        except RequestError as error:
            raise ProblemError.of_request(error) from error

    async def _answer(self, kind: str, body: bytes, headers: RequestHeaders) -> bytes:
        serving = self.models.current
        if serving is None:
            raise ProblemError("not-ready", self.models.reason, headers=[(b"retry-after", b"1")])
        request = REQUEST.get()
        request.model_version = serving.champion.deployed.version
        value = parse_json(body)
        started, now = perf_counter(), time()
        as_of, requested_at = datetime.fromtimestamp(now, UTC), self._clock.text(now)
        if headers.as_of is not None:
            as_of = parse_as_of(headers.as_of, as_of, is_allowed=self._options.is_as_of_allowed)
            requested_at = rfc3339(as_of)
        if kind == "single":
            requests = [self._contract.parse(value, as_of)]
        else:
            requests = self._contract.parse_batch(value, self._options.max_batch_size, as_of)
        request.mark("validate")
        served = await self._features.serve(requests, as_of)
        request.mark("online features")
        request.ids = ids = self._ids(kind, len(requests), headers.idempotency_key, request)
        outputs = await self._score(serving, ids, requests, served)
        request.mark("model")
        records = self._records(ids, requests, served, outputs, requested_at, started)
        self._log(records)
        request.mark("log append")
        answers = [self._build(record, features) for record, features in zip(records, served, strict=True)]
        return orjson.dumps(answers[0] if kind == "single" else answers)

    async def _score(
        self, serving: Serving, ids: Sequence[str], requests: Sequence[ValidRequest], served: Sequence[ServedFeatures]
    ) -> Sequence[ModelOutput]:
        try:
            outputs, fallbacks = await self._scorer.score(serving, [r.subject_id for r in requests], served)
        except ModelFailure as failure:
            version = serving.champion.deployed.version
            for id_, request in zip(ids, requests, strict=True):
                self._failures.note(id_, request.subject_id, "champion", version, "internal-error", str(failure))
            raise ProblemError("internal-error", f"version {version} {failure}") from failure
        if fallbacks and serving.canary:
            version = serving.canary.model.deployed.version
            for place, reason in fallbacks.items():
                self.metrics.count_fallback()
                self._failures.note(ids[place], requests[place].subject_id, "canary", version, "canary-failed", reason)
        return outputs

    def _records(
        self,
        ids: Sequence[str],
        requests: Sequence[ValidRequest],
        served: Sequence[ServedFeatures],
        outputs: Sequence[ModelOutput],
        requested_at: str,
        started: float,
    ) -> list[PredictionRecord]:
        logged_at = self._clock.text(time())
        latency_ms = (perf_counter() - started) * 1000.0
        records = []
        for request_id, request, features, output in zip(ids, requests, served, outputs, strict=True):
            exposure = self._exploration.exposure(request_id, output.prediction)
            record = build_record(
                self.use_case.name,
                request_id,
                request,
                features,
                output,
                requested_at=requested_at,
                logged_at=logged_at,
                latency_ms=latency_ms,
                is_explored=exposure.is_explored,
                label_propensity=exposure.label_propensity,
            )
            records.append(record)
        return records

    def _ids(self, kind: str, n: int, key: str | None, request: RequestContext) -> list[str]:
        """Ids of the predictions; that of a single one is the id of its request, unless the caller chose that."""
        if key is not None:
            return [request_id_of(self.use_case.name, f"{kind} {key}", index) for index in range(n)]
        if kind == "single" and request.is_own_id:
            return [request.request_id]
        return [str(uuid_utils.uuid7()) for _ in range(n)]

    def _log(self, records: Sequence[PredictionRecord]) -> None:
        started = perf_counter()
        try:
            if len(records) == 1:
                self.sink.append(records[0])
            else:
                self.sink.append_many(records)
        except LogError as error:
            raise ProblemError("log-unavailable", str(error), headers=[(b"retry-after", b"1")]) from error
        self.metrics.observe_write((perf_counter() - started) * 1000.0)

    def _build(self, record: PredictionRecord, served: ServedFeatures) -> dict[str, object]:
        category = risk_category(record.probability, self.use_case.answer.risk_bands)
        self.metrics.count_prediction(record.variant, category, record.latency_ms)
        if served.missing:
            self.metrics.count_missing(served.missing)
        if record.is_explored:
            self.metrics.count_explored(record.variant)
        return build_answer(self.use_case, record)
