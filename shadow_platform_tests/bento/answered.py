"""A prediction log of answers that a real bundle gave one by one, for tests of A/A runs.

Upstream: bundles, log sinks. Downstream: tests that let a model shadow itself.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shadow_platform.adapters.bundle import Bundle
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.domain.serving import rfc3339
from shadow_platform_tests.bento.shadowed import NOW, record


def answers(
    layout: Layout, digest: str, places: Iterable[int], version: str = "1", ended_at: datetime = NOW, **changed: Any
) -> list[PredictionRecord]:
    """Answers of a model as champion, one a second, each scored alone as a service with one caller does."""
    bundle, made = Bundle.load(layout.bundles / digest), []
    for place in places:
        features = {"cart_value": float(place * 7 % 130), "channel": ("mail", "shop")[place % 2]}
        probability = float(bundle.predict(bundle.encode([features])[0])[0])
        answer = {
            "features": features,
            "bundle_hash": digest,
            "probability": probability,
            "prediction": probability >= bundle.manifest.threshold,
            "logged_at": rfc3339(ended_at + timedelta(seconds=place)),
        }
        made.append(replace(record(place, NOW, version=version), **{**answer, **changed}))
    return made
