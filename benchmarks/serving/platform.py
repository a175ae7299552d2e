"""The platform as a contender: its service with shadow worker, deployments, and a filled online store.

Belongs here: bringing one use case's service into the state that is measured. Does not belong here: measuring.
Upstream: ``models``, the service as users start it. Downstream: every measurement of this package.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks.serving.load import Contender, write_script
from benchmarks.serving.models import KEY, ONLINE, REQUEST, VIEWS, Bundles, frame, train, write_bodies
from bento.serve import RunningService, free_port, running_service
from shadow_platform.adapters.deployment import read_manifest, write_manifest
from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.settings import Settings

ADDRESSES = {REQUEST.name: "benchmarks.serving.models:REQUEST", ONLINE.name: "benchmarks.serving.models:ONLINE"}
N_BODIES = 2_000
N_DRAWS = 50_000
ZIPF = 1.1
"""Exponent of the popularity of entities."""
WAIT_S = 300.0


@dataclass
class Platform:
    """One use case's running service.

    Attributes:
        bodies: files of request bodies by name: ``request``, or ``zipf`` and ``uniform`` draws of stored entities.
    """

    use_case: UseCase
    settings: Settings
    service: RunningService
    bundles: Bundles
    bodies: dict[str, Path]
    _challengers: tuple[str, ...] = ()
    _since: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def url(self) -> str:
        """Where one request is answered."""
        return f"{self.service.url}/predict"

    def deploy(self, champion: str, challengers: Sequence[str] = ()) -> None:
        """Write the next manifest; challengers that were there before stay as they are."""
        now = datetime.now(UTC)
        if tuple(challengers) != self._challengers:
            self._challengers, self._since = tuple(challengers), now
        write_deployment(self.settings.layout, self.use_case, champion, self._challengers, self._since)

    def shadow(self, *challengers: str) -> None:
        """Deploy these challengers, and wait until the worker answers and the shadow has compared a request."""
        self.deploy(self.bundles.champion, challengers)
        self.wait_loaded()
        body = next(iter(self.bodies.values())).read_bytes().splitlines()[0]
        httpx.post(self.url, content=body, timeout=60).raise_for_status()
        if self.bundles.hanging not in challengers:
            self.wait_compared()

    def wait_compared(self) -> None:
        """Wait until the shadow worker has nothing left to do."""
        deadline = time.monotonic() + WAIT_S
        while any(challenger["lag_records"] for challenger in self._get("/shadow/comparison")["challengers"]):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the shadow worker is still behind after {WAIT_S:.0f} s")
            time.sleep(0.2)

    def end_hanging(self) -> None:
        """Deploy a challenger that answers, and kill whatever still scores with the one that does not."""
        self.deploy(self.bundles.champion, (self.bundles.challenger,))
        killed = psutil.Process(self.service.shadow_pid)
        for process in [*killed.children(recursive=True), killed]:
            process.kill()
        psutil.wait_procs([killed], timeout=30)
        self.shadow(self.bundles.challenger)

    def contender(self, name: str, body: str, challengers: Sequence[str], *, keyed: bool = False) -> Contender:
        """This service as a contender, its shadow worker busy with these challengers."""
        script = write_script(self.bodies[body], keyed=keyed)
        return Contender(name, self.url, script, before=lambda: self.shadow(*challengers), after=self.wait_compared)

    def wait_loaded(self) -> None:
        """Wait until the worker answers with what was deployed last."""
        manifest = read_manifest(self.settings.layout.manifest(self.use_case.name))
        deadline = time.monotonic() + WAIT_S
        while manifest is not None and self._get("/model")["generation"] != manifest.generation:
            if time.monotonic() > deadline:
                raise RuntimeError(f"generation {manifest.generation} is not in service after {WAIT_S:.0f} s")
            time.sleep(0.05)

    def _get(self, path: str) -> Any:
        return httpx.get(f"{self.service.url}{path}", timeout=60).raise_for_status().json()


@contextmanager
def running_platform(folder: Path, use_case: UseCase, n_entities: int = 0, **changes: Any) -> Iterator[Platform]:
    """One worker of the platform with its shadow worker, all below ``folder``, which is made.

    Args:
        n_entities: entities in the online store, for the use case that reads it.
        changes: settings other than the defaults.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(shadow_home=folder / "home", **changes)
    layout = settings.layout
    bundles = train(folder, layout.bundles, use_case)
    if use_case.views:
        fill_online_store(settings, n_entities)
        bodies = {name: write_bodies(_subfolder(folder, name), keys, 0) for name, keys in draws(n_entities).items()}
    else:
        bodies = {"request": write_bodies(folder, None, N_BODIES)}
    write_deployment(layout, use_case, bundles.champion, (), datetime.now(UTC))
    with running_service(settings, ADDRESSES[use_case.name], free_port()) as service:
        yield Platform(use_case, settings, service, bundles, bodies)


def write_deployment(
    layout: Layout, use_case: UseCase, champion: str, challengers: Sequence[str], since: datetime
) -> None:
    """Write the next manifest of a use case."""
    path, now = layout.manifest(use_case.name), datetime.now(UTC)
    current = read_manifest(path)

    def model(version: int, digest: str, at: datetime) -> DeployedModel:
        return DeployedModel(version=str(version), bundle_hash=digest, model_name="benchmark", since=at)

    manifest = DeploymentManifest(
        use_case=use_case.name,
        generation=current.generation + 1 if current else 1,
        champion=model(1, champion, now),
        challengers=tuple(model(i, digest, since) for i, digest in enumerate(challengers, start=2)),
        written_at=now,
    )
    write_manifest(path, manifest)


def fill_online_store(settings: Settings, n_entities: int) -> None:
    """Feature rows of every entity, materialized as the platform does it."""
    # DuckDB comes with it, which no process needs that only reads features.
    from shadow_platform.adapters.lake import Lake

    layout = settings.layout
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    rows = frame(n_entities)
    rows[KEY], rows["event_at"], rows["created_at"] = entities(n_entities), at, at
    lake = Lake(layout)
    for view in ONLINE.views:
        columns = [KEY, "event_at", "created_at", *VIEWS[view.name]]
        lake.write_features(ONLINE, view, date(at.year, at.month, at.day), rows[columns])
    store = FeastStore(layout, settings.feast_repo_path, ONLINE)
    store.apply()
    written = store.materialize(at - timedelta(hours=1), at)
    if written != dict.fromkeys(VIEWS, n_entities):
        raise RuntimeError(f"the online store holds {written} entities, expected {n_entities} a view")


def entities(n: int) -> list[str]:
    """Keys of the entities in the online store."""
    return [f"c-{i}" for i in range(n)]


def draws(n_entities: int) -> dict[str, list[str]]:
    """Keys of requests: a few entities ask most, or all alike."""
    rng = np.random.default_rng(n_entities)
    weights = 1.0 / np.arange(1, n_entities + 1) ** ZIPF
    keys = np.array(entities(n_entities))
    return {
        "zipf": keys[rng.choice(n_entities, N_DRAWS, p=weights / weights.sum())].tolist(),
        "uniform": keys[rng.integers(0, n_entities, N_DRAWS)].tolist(),
    }


def _subfolder(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    return path
