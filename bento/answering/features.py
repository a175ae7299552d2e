"""The features a request is answered with: from its body, else from the online store, else imputed as in training.

Belongs here: one lookup for a request or a batch, and what happens when the store does not answer in time or a
derivation fails. Does not belong here: how the store is read (``bento.answering.online``), precedence, time to live
and what derives from what (``domain.serving``). Upstream: valid requests. Downstream: the predictor and the explainer,
which are given the same values.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from bento.answering.metrics import ServiceMetrics
from bento.answering.online import OnlineReader, OnlineStoreAway
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform.domain.serving import RequestContract, ServedFeatures, ValidRequest

LOGGER = logging.getLogger("shadow_platform.features")


class RequestFeatures:
    """Completes valid requests; ``online`` is ``None`` for use cases without feature views."""

    def __init__(self, contract: RequestContract, online: OnlineReader | None, metrics: ServiceMetrics) -> None:
        self._contract = contract
        self._online = online
        self._metrics = metrics
        self._failed: set[str] = set()

    async def serve(self, requests: Sequence[ValidRequest], as_of: datetime) -> list[ServedFeatures]:
        """Features of each request in order; a store that fails or is late leaves its features to imputation."""
        rows = await self._look_up(requests)
        served = [self._contract.assemble(r, online, as_of) for r, online in zip(requests, rows, strict=True)]
        for features in served:
            if features.problems:
                self._note(features.problems)
        return served

    def _note(self, problems: Mapping[str, str]) -> None:
        """Count failed derivations; the first failure of each is logged, for the next one says the same.

        The error's words may quote a feature's value, so they are logged at DEBUG only.
        """
        for derivation, problem in problems.items():
            self._metrics.count_derivation_failure(derivation)
            if derivation not in self._failed:
                self._failed.add(derivation)
                kind = problem.partition(":")[0]
                LOGGER.error("derivation %s failed (%s); its features are imputed", derivation, kind)
                LOGGER.debug("derivation %s: %s", derivation, problem)

    async def _look_up(self, requests: Sequence[ValidRequest]) -> Sequence[Mapping[str, OnlineRow]]:
        nothing: list[Mapping[str, OnlineRow]] = [{}] * len(requests)
        if self._online is None:
            return nothing
        keys = [self._contract.lookup_keys(request) for request in requests]
        if not any(keys):
            return nothing
        try:
            return await self._online.read(keys)
        except OnlineStoreAway as error:
            self._metrics.count_store_error(error.reason)
            return nothing
