"""A running service to do harm to: its folder, its models, its processes, and whether it has recovered.

Belongs here: what every kind of harm needs. Does not belong here: load (``load``), judging the logs (``ledger``).
Upstream: bento.serve. Downstream: chaos tests and ``benchmarks.chaos``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

import httpx
import psutil

from bento.serve import RunningService, ServiceError, free_port, running_service
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import Settings
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import body_of, deploy, settings_at, wait_until
from shadow_platform_tests.chaos.ledger import conservation
from shadow_platform_tests.chaos.load import TIMEOUT_S

CATCH_UP_S = 300.0
HEAL_S = 240.0


@dataclass
class Home:
    """A service of use case ``shop`` and its folder; every deployment gets versions that were never used before."""

    service: RunningService
    settings: Settings
    n_workers: int
    _versions: Iterator[int] = field(default_factory=lambda: count(100))

    @property
    def layout(self) -> Layout:
        """Where its logs are."""
        return self.settings.layout

    @property
    def manifest(self) -> DeploymentManifest:
        """Deployment in force."""
        found = read_manifest(self.layout.manifest(shop.USE_CASE.name))
        assert found is not None
        return found

    @property
    def challenger(self) -> DeployedModel:
        """The challenger in the shadow."""
        return self.manifest.challengers[0]

    def deploy(self, challenger: str | None = None) -> str:
        """Put a new champion into service and its challenger into the shadow; returns the champion's version."""
        version = str(next(self._versions))
        digest = line_bundle(self.layout.bundles, slope=0.02 + int(version) % 50 / 1000)
        challengers = {str(next(self._versions)): challenger or line_bundle(self.layout.bundles, slope=0.1)}
        deploy(self.layout, digest, challengers, version)
        return version

    def promote(self) -> str:
        """Put a new champion into service beside the same challenger; returns its version."""
        version = str(next(self._versions))
        digest = line_bundle(self.layout.bundles, slope=0.02 + int(version) % 50 / 1000)
        deploy(self.layout, digest, {model.version: model.bundle_hash for model in self.manifest.challengers}, version)
        return version

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Living processes of the service by role: each supervised one, its children, and theirs."""
        found: dict[str, list[psutil.Process]] = {}
        for child in self.service.children:
            if child.process is None or child.process.poll() is not None:
                continue
            try:
                leader = psutil.Process(child.process.pid)
            except psutil.NoSuchProcess:
                continue
            found[child.name] = [leader]
            for member in descendants(leader):
                role = "child" if parent_of(member) == leader.pid else "grandchild"
                found.setdefault(f"{child.name}'s {role}", []).append(member)
        return found

    def wait_explained(self) -> None:
        """Wait until a prediction was explained, for which a process of its own is started."""

        def is_explained() -> bool:
            return httpx.post(f"{self.service.url}/explain", json=body_of(1), timeout=TIMEOUT_S).status_code == 200

        wait_until(is_explained, "a prediction is explained", HEAL_S)

    def is_whole(self) -> bool:
        """Whether every supervised process and every worker is there."""
        try:
            n_workers = len(self.service.worker_pids)
        except (ServiceError, psutil.NoSuchProcess):
            return False
        supervised = [child.process is not None and child.process.poll() is None for child in self.service.children]
        return n_workers >= self.n_workers and all(supervised)

    def wait_whole(self, version: str | None = None) -> None:
        """Wait until nothing is missing, and every worker answers, with this version (default: any)."""
        wait_until(self.is_whole, "every process is there again", HEAL_S)
        wait_until(
            lambda: self._every_worker_answers(version), f"every worker answers with {version or 'a model'}", HEAL_S
        )

    def _every_worker_answers(self, version: str | None) -> bool:
        """Ask over fresh connections until each worker was met."""
        try:
            missing = set(self.service.worker_pids)
            while missing:
                model = httpx.get(f"{self.service.url}/model", timeout=TIMEOUT_S).json()
                if version not in (None, (model.get("champion") or {}).get("version")):
                    return False
                missing.discard(model.get("worker_pid"))
                if missing - set(self.service.worker_pids):
                    return False
        except (httpx.TransportError, ServiceError, psutil.NoSuchProcess):
            return False
        return True

    def catch_up(self) -> None:
        """Wait until every prediction sent to the challenger has exactly one record."""
        challenger = self.challenger

        def has_caught_up() -> bool:
            found = conservation(self.layout, challenger)
            assert found.is_sound, found
            return found.is_complete

        wait_until(has_caught_up, f"challenger {challenger.version} catches up", CATCH_UP_S)


def descendants(leader: psutil.Process) -> list[psutil.Process]:
    """Processes below one that may end at any moment."""
    try:
        found: list[psutil.Process] = leader.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found


def parent_of(process: psutil.Process) -> int:
    """Process id of the parent; 0 when the process is gone."""
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return 0


def is_gone(process: psutil.Process) -> bool:
    """Whether a process ended (a zombie has)."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def kill(home: Home, role: str, rng: Random) -> psutil.Process:
    """SIGKILL one process of a role as soon as there is one, and wait until it is gone."""
    found: list[psutil.Process] = []

    def is_there() -> bool:
        found[:] = home.processes().get(role, [])
        return bool(found)

    wait_until(is_there, f"there is a {role}", HEAL_S)
    victim = rng.choice(found)
    victim.kill()
    wait_until(lambda: is_gone(victim), f"{role} {victim.pid} ends")
    return victim


@contextmanager
def running_home(folder: Path, n_workers: int = 2) -> Iterator[Home]:
    """A service with a champion, and a challenger in the shadow."""
    settings = settings_at(folder)
    layout = settings.layout
    deploy(layout, line_bundle(layout.bundles), {"2": line_bundle(layout.bundles, slope=0.03)})
    with running_service(settings, shop.NAME, free_port(), workers=n_workers) as service:
        yield Home(service, settings, n_workers)
