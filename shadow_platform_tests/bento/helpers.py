"""A running service of use case ``shop``: homes, manifests, requests and what its logs say afterwards.

Upstream: bento, bundles. Downstream: serving tests and chaos tests.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from bento.shadowing.offsets import shadow_root
from shadow_platform.adapters.deployment import read_manifest, write_manifest
from shadow_platform.adapters.log import FileLogSource, decode_prediction, decode_shadow
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import PredictionRecord, ShadowRecord
from shadow_platform.settings import Settings

USE_CASE = "shop"


def settings_at(home: Path, **values: object) -> Settings:
    """Settings of a service below one folder, whatever the environment says."""
    return Settings(shadow_home=home, environment="development").model_copy(update=values)


def body_of(index: int) -> dict[str, object]:
    """The i-th request of a deterministic stream."""
    return {"visit_id": f"v-{index}", "cart_value": float(index * 7 % 130), "channel": ("mail", "shop")[index % 2]}


def deploy(layout: Layout, champion: str, challengers: dict[str, str] | None = None, version: str = "1") -> None:
    """Write the next manifest: bundle hashes by version."""
    now = datetime.now(UTC)
    path = layout.manifest(USE_CASE)
    current = read_manifest(path)
    known = {model.version: model for model in current.challengers} if current else {}
    models = tuple(known.get(v) or _model(v, digest, now) for v, digest in (challengers or {}).items())
    generation = current.generation + 1 if current else 1
    previous = current.champion if current else None
    write_manifest(
        path,
        DeploymentManifest(
            use_case=USE_CASE,
            generation=generation,
            champion=_model(version, champion, now),
            previous=previous,
            challengers=models,
            written_at=now,
        ),
    )


def _model(version: str, digest: str, since: datetime) -> DeployedModel:
    return DeployedModel(version=version, bundle_hash=digest, model_name="line", since=since)


def predictions(layout: Layout) -> list[PredictionRecord]:
    """Everything in the prediction log."""
    return [decode_prediction(line.payload) for line in FileLogSource(layout.log("predictions", USE_CASE)).read({})]


def comparisons(layout: Layout, version: str) -> list[ShadowRecord]:
    """Everything in one challenger's shadow log."""
    source = FileLogSource(shadow_root(layout, USE_CASE, version))
    return [decode_shadow(line.payload) for line in source.read({})]


def outcomes(layout: Layout, version: str) -> Counter[str]:
    """Number of comparisons by outcome."""
    return Counter(record.outcome for record in comparisons(layout, version))


def wait_until(holds: Callable[[], bool], what: str, timeout_s: float = 120.0) -> None:
    """Return as soon as the condition holds; fail naming it when it does not in time."""
    for _ in ticks(timeout_s):
        if holds():
            return
    raise AssertionError(f"not within {timeout_s} s: {what}")


def explained(client: httpx.Client, body: object, **parameters: str) -> dict[str, Any]:
    """The first explanation that is given; there is none while the explaining process starts."""
    text = ""
    for _ in ticks(120.0):
        response = client.post("/explain", json=body, params=parameters)
        text = response.text
        if response.status_code == 200:
            document: dict[str, Any] = response.json()
            return document
    raise AssertionError(f"no explanation: {text}")


def ticks(timeout_s: float, pause_s: float = 0.05) -> Iterator[None]:
    """One step a pause, until the time is over."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        yield
        time.sleep(pause_s)
