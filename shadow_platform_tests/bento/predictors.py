"""A predictor of use case ``shop`` in this process, with real bundles and logs in memory.

Upstream: bento, bundles. Downstream: tests of what one worker answers, which need no server.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from bento.answering.failures import FailureLog
from bento.answering.features import RequestFeatures
from bento.answering.idempotency import AnswerCache
from bento.answering.metrics import ServiceMetrics
from bento.answering.models import ModelWatcher
from bento.answering.predictor import Predictor, PredictorOptions, RequestHeaders
from bento.answering.variants import VariantScorer
from shadow_platform.adapters.deployment import read_manifest, write_manifest
from shadow_platform.adapters.log import decode_prediction
from shadow_platform.contracts.deployment import Canary
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving import RequestContract
from shadow_platform_tests.bento.helpers import USE_CASE, deploy
from shadow_platform_tests.bento.shop import USE_CASE as SHOP
from shadow_platform_tests.fakes_log import InMemoryLog


def set_canary(layout: Layout, share: float, halted_reason: str | None = None, salt: str = "rollout") -> Canary:
    """Write the next manifest, with its newest challenger as canary."""
    manifest = read_manifest(layout.manifest(USE_CASE))
    assert manifest is not None
    model = manifest.challengers[0]
    canary = Canary(model=model, share=share, salt=salt, started_at=model.since, halted_reason=halted_reason)
    changes = {"canary": canary, "generation": manifest.generation + 1}
    write_manifest(layout.manifest(USE_CASE), manifest.model_copy(update=changes))
    return canary


@dataclass
class OneWorker:
    """What one worker answers from.

    Args:
        home: champion 1 and canary 2 are deployed below it.
        canary: hash of the canary's bundle.
    """

    home: Path
    champion: str
    canary: str
    share: float = 0.5
    log: InMemoryLog = field(default_factory=InMemoryLog)
    failure_log: InMemoryLog = field(default_factory=InMemoryLog)
    canary_timeout_s: float = 30.0
    use_case: UseCase = SHOP

    def __post_init__(self) -> None:
        self.layout = Layout(self.home)
        deploy(self.layout, self.champion, {"2": self.canary})
        self.rollout = set_canary(self.layout, self.share)
        self.models = ModelWatcher(self.layout, USE_CASE)
        assert self.models.refresh(), self.models.reason
        self.registry = CollectorRegistry()
        self.metrics = metrics = ServiceMetrics(self.registry)
        contract = RequestContract(self.use_case)
        self.failures = FailureLog(USE_CASE, self.failure_log, metrics.count_unlogged_failure)
        self.predictor = Predictor(
            self.use_case,
            self.models,
            self.log,
            metrics,
            contract,
            RequestFeatures(contract, None, metrics),
            PredictorOptions(),
            self.failures,
            AnswerCache(),
            VariantScorer(self.canary_timeout_s),
        )

    async def answer(self, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
        """Answer to one request."""
        headers = RequestHeaders(idempotency_key=key)
        found: dict[str, Any] = json.loads(await self.predictor.answer(orjson.dumps(body), headers))
        return found

    async def batch(self, bodies: list[dict[str, Any]], key: str | None = None) -> list[dict[str, Any]]:
        """Answers to a batch."""
        headers = RequestHeaders(idempotency_key=key)
        found: list[dict[str, Any]] = json.loads(await self.predictor.answer_batch(orjson.dumps(bodies), headers))
        return found

    def records(self) -> list[PredictionRecord]:
        """The prediction log."""
        return [decode_prediction(line) for line in self.log.lines]

    def failed(self) -> list[dict[str, Any]]:
        """The log of failures."""
        self.failures.flush()
        return [orjson.loads(line) for line in self.failure_log.lines]

    def counted(self) -> Counter[str]:
        """Metrics by name, summed over labels."""
        self.metrics.flush()
        counts: Counter[str] = Counter()
        for metric in self.registry.collect():
            for sample in metric.samples:
                counts[sample.name] += int(sample.value)
        return counts
