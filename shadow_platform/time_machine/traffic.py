"""Requests of simulated days, answered by what is deployed and scored by the challengers, without a service.

Belongs here: the order in which a request is completed, scored and logged, for many requests at once. Does not belong
here: what a valid request, a served feature, a record and a comparison are (``domain``), the file formats of the logs
(``adapters.log``). Upstream: requests and feature rows of the lake, the manifest, bundles. Downstream: prediction and
shadow logs, as the service and the shadow worker would have written them on that day.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import orjson
import pandas as pd

from shadow_platform.adapters.bundle import Bundle
from shadow_platform.adapters.log import FileLogSink, FileLogSource, decode_prediction
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform.contracts.records import PredictionRecord, ShadowRecord, SourceOffset, Variant
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.canary import propensity_of, routing, variant_of
from shadow_platform.domain.exploration import ExplorationRule
from shadow_platform.domain.serving import ModelOutput, RequestContract, ServedFeatures, build_record, rfc3339
from shadow_platform.domain.serving.bodies import request_bodies
from shadow_platform.domain.shadow import Challenger, Score, compare
from shadow_platform.partitions import end_of, start_of
from shadow_platform.resources import PlatformResource
from shadow_platform.time_machine.known_rows import KnownRows

# What a simulated answer takes; measured times would make two runs differ.
LATENCY_MS = 1.0
ONE_SECOND = timedelta(seconds=1)


class Answer(NamedTuple):
    """What a request was told."""

    subject_id: str
    requested_at: datetime
    probability: float
    model_version: str


class Traffic:
    """The callers, the service and the shadow worker of one use case."""

    def __init__(self, use_case: UseCase) -> None:
        self._use_case = use_case
        self._contract = RequestContract(use_case)
        self._exploration = ExplorationRule.of(use_case)
        self._rows = [KnownRows(use_case, view) for view in use_case.views]
        self._bundles: dict[str, Bundle] = {}

    def play(self, platform: PlatformResource, first: date, until: date) -> list[Answer]:
        """Answer the requests of the days in ``[first, until)`` and let every challenger score them."""
        manifest = platform.require_manifest(self._use_case, "nothing to answer with")
        records = self._answered(platform, manifest, first, until)
        root = platform.layout.log("predictions", self._use_case.name)
        for day, of_day in _by_day(records):
            # One segment a day: an hour is a matter of when something was appended, not of what was asked.
            _append(FileLogSink(root, clock=(end_of(day) - ONE_SECOND).timestamp), of_day)
        for challenger in manifest.challengers:
            self.shadow(platform, challenger, start_of(first), start_of(until))
        return [
            Answer(r.subject_id, datetime.fromisoformat(r.requested_at), r.probability, r.model_version)
            for r in records
        ]

    def shadow(
        self,
        platform: PlatformResource,
        challenger: DeployedModel,
        since: datetime,
        until: datetime,
        *,
        is_replay: bool = False,
    ) -> int:
        """Score the logged requests of ``[since, until)`` with a challenger; how many there were."""
        sent = list(_logged(platform, self._use_case, since, until))
        if not sent:
            return 0
        bundle = self._bundle(platform, challenger.bundle_hash)
        model = Challenger(challenger.version, bundle.manifest.threshold)
        probabilities = _scores(bundle, [prediction.features for prediction, _ in sent])
        at = max(platform.now(), until)
        records = [
            compare(
                prediction,
                offset,
                model,
                Score(probability=probability, latency_ms=LATENCY_MS),
                compared_at=rfc3339(at) if is_replay else prediction.logged_at,
                is_replay=is_replay,
            )
            for (prediction, offset), probability in zip(sent, probabilities, strict=True)
        ]
        root = platform.layout.log("shadow", self._use_case.name) / f"challenger={challenger.version}"
        _append(FileLogSink(root, clock=(at - ONE_SECOND).timestamp), records)
        return len(records)

    def _answered(
        self, platform: PlatformResource, manifest: DeploymentManifest, first: date, until: date
    ) -> list[PredictionRecord]:
        use_case, lake = self._use_case, platform.lake()
        window = {"start": start_of(first), "end": start_of(until)}
        requests = lake.events_sql(use_case.requests_sql, use_case, use_case.events, window, end=window["end"])
        requests = requests.sort_values(["requested_at", "subject_id"], kind="stable", ignore_index=True)
        rows = [view.at(platform, requests, first, until) for view in self._rows]
        bodies = request_bodies(use_case, requests)
        moments = [at.to_pydatetime() for at in requests["requested_at"]]
        parsed = [self._contract.parse(orjson.loads(body), at) for body, at in zip(bodies, moments, strict=True)]
        served = [
            self._contract.assemble(request, _online(found), at)
            for request, at, found in zip(parsed, moments, _transposed(rows, len(parsed)), strict=True)
        ]
        outputs = self._outputs(platform, manifest, [request.subject_id for request in parsed], served)
        records = []
        for request, at, features, output in zip(parsed, moments, served, outputs, strict=True):
            request_id = str(uuid5(NAMESPACE_URL, f"{use_case.name}\0{request.subject_id}\0{at.isoformat()}"))
            exposure = self._exploration.exposure(request_id, output.prediction)
            record = build_record(
                use_case.name,
                request_id,
                request,
                features,
                output,
                requested_at=_text(at),
                logged_at=_text(at),
                latency_ms=LATENCY_MS,
                is_explored=exposure.is_explored,
                label_propensity=exposure.label_propensity,
            )
            records.append(record)
        return records

    def _outputs(
        self,
        platform: PlatformResource,
        manifest: DeploymentManifest,
        subjects: Sequence[str],
        served: Sequence[ServedFeatures],
    ) -> list[ModelOutput]:
        canary = routing(manifest, 0.0)
        drawn: list[Variant] = [variant_of(canary, subject) if canary else "champion" for subject in subjects]
        outputs: list[ModelOutput | None] = [None] * len(subjects)
        for variant, model in (("champion", manifest.champion), ("canary", canary.model if canary else None)):
            places = [place for place, who in enumerate(drawn) if who == variant]
            if model is None or not places:
                continue
            bundle = self._bundle(platform, model.bundle_hash)
            for place, p in zip(places, _scores(bundle, [served[place].values for place in places]), strict=True):
                share = propensity_of(canary, drawn[place]) if canary else 1.0
                outputs[place] = ModelOutput(
                    p, bundle.manifest.threshold, model.version, model.bundle_hash, drawn[place], share
                )
        return [output for output in outputs if output is not None]

    def _bundle(self, platform: PlatformResource, digest: str) -> Bundle:
        if digest not in self._bundles:
            self._bundles[digest] = platform.bundles().load(digest)
        return self._bundles[digest]


def _logged(
    platform: PlatformResource, use_case: UseCase, since: datetime, until: datetime
) -> Iterator[tuple[PredictionRecord, SourceOffset]]:
    first, last = _text(since), _text(until)
    for line in FileLogSource(platform.layout.log("predictions", use_case.name), since=since).read({}):
        prediction = decode_prediction(line.payload)
        if first <= prediction.requested_at < last:
            yield prediction, line.offset


def _scores(bundle: Bundle, rows: Sequence[Mapping[str, object]]) -> list[float]:
    matrix, _ = bundle.encode(rows)
    probabilities: list[float] = bundle.predict(np.ascontiguousarray(matrix)).tolist()
    return probabilities


def _online(found: Sequence[tuple[str, OnlineRow | None]]) -> dict[str, OnlineRow]:
    return {view: row for view, row in found if row is not None}


def _transposed(
    rows: Sequence[Sequence[tuple[str, OnlineRow | None]]], n: int
) -> Iterator[list[tuple[str, OnlineRow | None]]]:
    return ([of_view[place] for of_view in rows] for place in range(n))


def _by_day(records: Sequence[PredictionRecord]) -> Iterator[tuple[date, list[PredictionRecord]]]:
    by_day: dict[date, list[PredictionRecord]] = {}
    for record in records:
        by_day.setdefault(date.fromisoformat(record.requested_at[:10]), []).append(record)
    return iter(sorted(by_day.items()))


def _append(sink: FileLogSink, records: Sequence[PredictionRecord] | Sequence[ShadowRecord]) -> None:
    with closing(sink):
        sink.append_many(records)


def _text(at: datetime) -> str:
    return rfc3339(pd.Timestamp(at).to_pydatetime().astimezone(UTC))
