"""A home in which use case ``shop`` has been served and shadowed for some days, without starting a process.

Upstream: real bundles, log sinks and lake; registry in memory. Downstream: tests of the assets behind the logs.
"""

import shutil
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from shadow_platform.adapters.bundle import Bundle
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import ModelAnswer, PredictionRecord, ShadowRecord, SourceOffset
from shadow_platform.contracts.tables import A_A_RUNS, LABELS
from shadow_platform.contracts.use_case import ModelSpec
from shadow_platform.domain.training import frame_fingerprint
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.bento.bundles import AT, line_bundle
from shadow_platform_tests.bento.shop import USE_CASE as SHOP
from shadow_platform_tests.fakes import FakeRegistry

FIRST_DAY = AT
CHAMPION, CHALLENGER = "1", "2"
TRUTH, FAR_OFF = (0.06, -3.0), (0.02, -1.0)
"""Slope and intercept of the challenger, which is the truth where it is promoted, and of the champion."""
_FIRST = ModelSpec(name="line {} {}".format(*FAR_OFF), build=SHOP.models[0].build)
USE_CASE = replace(SHOP, models=(_FIRST, SHOP.models[1]))
_REGISTRIES: dict[str, FakeRegistry] = {}


class ServedPlatform(PlatformResource):
    """The platform resource with a registry in memory, one a home, and no Bento build."""

    def registry(self) -> Any:
        return _REGISTRIES.setdefault(self.shadow_home, FakeRegistry())

    def build_bento(self, use_case: Any, manifest: DeploymentManifest) -> str:
        return f"{use_case.name}:g{manifest.generation}-0"


class Home:
    """What was served, and how to materialize assets on it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.platform = ServedPlatform(shadow_home=str(layout.home))
        self.lake = Lake(layout)

    def copied_to(self, layout: Layout) -> "Home":
        """This home as it is now, in another place."""
        shutil.copytree(self.layout.home, layout.home)
        copy, registry = Home(layout), self.platform.registry()
        for version in registry.versions(USE_CASE.name):
            copy.platform.registry().register(USE_CASE.name, layout.bundles / version.bundle_hash, version.run_id, {})
            for alias in version.aliases:
                copy.platform.registry().swap_alias(USE_CASE.name, alias, None, version.version)
        return copy

    def register(self, slope: float, intercept: float, frame: str | None = None) -> str:
        """Version of a registered logistic regression on the cart's value, with the frame it was trained on."""
        made_of = {"data": frame or self.keep_frame()}
        digest = line_bundle(self.layout.bundles, slope, intercept, fingerprints=made_of)
        registry: FakeRegistry = self.platform.registry()
        return registry.register(USE_CASE.name, self.layout.bundles / digest, "run", {}).version

    def keep_frame(self, **changed: Any) -> str:
        """Fingerprint of a training frame of the two days before the first, all of it known by then."""
        hours = [FIRST_DAY - timedelta(hours=n) for n in range(48, 24, -1)]
        at = pd.Series(pd.to_datetime(hours, utc=True)).dt.as_unit("us")
        known = {"subject_id": [f"t{i:03d}" for i in range(len(at))], "requested_at": at, "label": [True, False] * 12}
        frame = pd.DataFrame({**known, "known_at": at + timedelta(hours=20), **changed})
        fingerprint = frame_fingerprint(frame)
        path = self.layout.frame(USE_CASE.name, fingerprint)
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path)
        return fingerprint

    def pass_a_a(self, **changed: Any) -> None:
        """Note an A/A run of the champion in which no answer differed."""
        champion, at = self.manifest().champion, FIRST_DAY + timedelta(days=1)
        times = dict.fromkeys(("first_request_at", "last_request_at", "ran_at"), at)
        counts = {"n": 500, "n_failed": 0, "n_differing": 0, "n_flips": 0, "max_difference": 0.0, "limit": 1e-5}
        said = {"trigger": "gate", "outcome": "pass", "reason": "none of 500 answers differs"}
        model = {"use_case": USE_CASE.name, "version": champion.version, "bundle_hash": champion.bundle_hash}
        row = {"run_id": f"run of {champion.version}", **model, **times, **counts, **said, **changed}
        self.lake.append_rows(A_A_RUNS, USE_CASE, [row])

    def serve(self, days: int, per_day: int, truth: tuple[float, float], seed: int = 0) -> None:
        """Answer, shadow and label requests; the truth is a logistic regression of the cart's value."""
        manifest = self.manifest()
        rng = np.random.default_rng(seed)
        n = days * per_day
        carts = rng.uniform(0, 120, n).round(2)
        rows = [{"cart_value": float(cart), "channel": ("mail", "shop")[i % 2]} for i, cart in enumerate(carts)]
        at = [FIRST_DAY + timedelta(days=1) * i / per_day for i in range(n)]
        label = rng.random(n) < 1 / (1 + np.exp(-(truth[0] * carts + truth[1])))
        champion = self._scores(manifest.champion.bundle_hash, rows)
        answers = [_prediction(manifest.champion, i, at[i], rows[i], champion[i]) for i in range(n)]
        self._append("predictions", answers)
        for model in manifest.challengers:
            scores = self._scores(model.bundle_hash, rows)
            records = [_comparison(answers[i], scores[i], model.version, i) for i in range(n)]
            self._append(f"shadow/{model.version}", records)
        self._label(at, label)
        self.pass_a_a()

    def manifest(self) -> DeploymentManifest:
        """Deployment in force."""
        found = read_manifest(self.layout.manifest(USE_CASE.name))
        assert found is not None
        return found

    def materialize(
        self, *assets: dg.AssetsDefinition, config: dict[str, Any] | None = None, days: int | None = None
    ) -> dg.ExecuteInProcessResult:
        """Run assets in process, over the served days when they are partitioned."""
        last = FIRST_DAY + timedelta(days=(days or 1) - 1)
        tags = {
            "dagster/asset_partition_range_start": f"{FIRST_DAY:%Y-%m-%d}",
            "dagster/asset_partition_range_end": f"{last:%Y-%m-%d}",
        }
        ops = {f"{USE_CASE.name}__{name}": {"config": value} for name, value in (config or {}).items()}
        return dg.materialize(
            list(assets), resources={"platform": self.platform}, run_config={"ops": ops}, tags=tags if days else None
        )

    def _scores(self, digest: str, rows: list[dict[str, Any]]) -> list[float]:
        bundle = Bundle.load(self.layout.bundles / digest)
        return [float(p) for p in bundle.predict(bundle.encode(rows)[0])]

    def _append(self, stream: str, records: list[Any]) -> None:
        name, _, version = stream.partition("/")
        root = self.layout.log(name, USE_CASE.name)
        sink = FileLogSink(root / f"challenger={version}" if version else root)
        sink.append_many([asdict(record) for record in records])
        sink.close()

    def _label(self, at: list[datetime], label: Any) -> None:
        known = [moment + timedelta(hours=20) for moment in at]
        frame = pd.DataFrame(
            {
                "use_case": USE_CASE.name,
                "subject_id": [f"v{i:06d}" for i in range(len(at))],
                "requested_at": pd.to_datetime(at, utc=True),
                "label": label,
                "event_at": pd.to_datetime(known, utc=True),
                "known_at": pd.to_datetime(known, utc=True),
                "source": "events",
            }
        )
        for day, rows in frame.groupby(frame["known_at"].dt.date):
            self.lake.write_table(LABELS, USE_CASE, day, rows)


def _prediction(
    champion: DeployedModel, i: int, at: datetime, row: dict[str, Any], probability: float
) -> PredictionRecord:
    return PredictionRecord(
        request_id=f"r{i:06d}",
        use_case=USE_CASE.name,
        subject_id=f"v{i:06d}",
        entities={},
        requested_at=at.isoformat(),
        logged_at=datetime.now(UTC).isoformat(),
        features=row,
        feature_sources={"request": 2, "online": 0, "imputed": 0},
        feature_age_s=None,
        model_version=champion.version,
        bundle_hash=champion.bundle_hash,
        variant="champion",
        propensity=1.0,
        is_fallback=False,
        probability=probability,
        prediction=probability >= 0.5,
        threshold=0.5,
        latency_ms=1.0,
    )


def _comparison(answer: PredictionRecord, score: float, version: str, i: int) -> ShadowRecord:
    return ShadowRecord(
        request_id=answer.request_id,
        use_case=answer.use_case,
        subject_id=answer.subject_id,
        requested_at=answer.requested_at,
        compared_at=datetime.now(UTC).isoformat(),
        outcome="compared",
        champion=ModelAnswer(answer.probability, answer.prediction, answer.latency_ms, answer.model_version),
        challenger=ModelAnswer(score, score >= 0.5, 0.2, version),
        source=SourceOffset("segment", i),
        probability_diff=score - answer.probability,
        prediction_match=(score >= 0.5) == answer.prediction,
    )
