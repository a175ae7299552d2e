"""Changes the deployment by hand, waits until the workers of this machine answer with it, and says what they do.

Belongs here: what every command that changes a deployment has in common. Upstream: commands. Downstream: the one
transition path of the platform, the state files that serving workers write.

Importing Dagster, MLflow and a use case's tools takes longer than a rollback may, so none is imported here, nor before
the workers answer with a change that needs no registry.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psutil
from rich.console import Console
from rich.table import Table

from shadow_platform.adapters import deployment
from shadow_platform.adapters.deployment.worker_states import is_converged, live_workers, refusing
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.cli.persons import person
from shadow_platform.contracts.deployment import DeploymentManifest, WorkerState
from shadow_platform.contracts.errors import RegistryError
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import load_settings
from shadow_platform.use_cases import load_use_case

if TYPE_CHECKING:
    from shadow_platform.resources import EmergencyChange, Transition

TIMEOUT_S = 30.0
POLL_S = 0.1
CONSOLE = Console()


def change(use_case: str, transition: "Transition", wait: bool, by: str | None = None, **arguments: Any) -> int:
    """Carry out a transition, booked to ``by`` or to this user; returns the exit code of ``await_workers``."""
    from shadow_platform.resources import PlatformResource

    platform, found = PlatformResource(), load_use_case(use_case)
    manifest = platform.deploy(found, transition, actor=person(by), **arguments)
    CONSOLE.print(_summary(manifest))
    return await_workers(platform.layout, manifest) if wait else 0


def change_without_registry(
    use_case: str,
    transition: "EmergencyChange",
    wait: bool,
    expected: DeploymentManifest,
    by: str | None = None,
    **arguments: Any,
) -> int:
    """Carry out a transition that an outage of the registry must not delay; its aliases follow when it answers.

    Args:
        expected: manifest that the decision is about; one that was changed meanwhile is a ``TransitionConflict``.
    """
    layout, name = load_settings().layout, expected.use_case
    with closing(FileLogSink(layout.log("transitions", name))) as audit:
        manifest: DeploymentManifest = getattr(deployment, transition)(
            layout,
            audit,
            use_case=name,
            actor=person(by),
            expected_generation=expected.generation,
            now=datetime.now(UTC),
            **arguments,
        )
    CONSOLE.print(_summary(manifest))
    code = await_workers(layout, manifest) if wait else 0
    try:
        _reconcile(use_case)
    except RegistryError as error:
        CONSOLE.print(
            f"in force; run `shadow models reconcile` once the registry answers, its aliases are behind: {error}"
        )
    return code


def _reconcile(use_case: str) -> None:
    from shadow_platform.resources import PlatformResource

    PlatformResource().reconcile(load_use_case(use_case))


def await_workers(layout: Layout, manifest: DeploymentManifest) -> int:
    """Print a table of the workers once all have loaded the manifest, one refused it, or the time is over.

    A refusal counts if it is of this manifest, or of a later one, and of a model that this one lets answer by itself:
    what a worker said before the change, or says of a challenger that ``CANARY_SPLIT`` lets answer, is shown only.

    Returns:
        Exit code: 0 when every live worker answers with it, or none runs here; else 1.
    """
    deadline = time.monotonic() + TIMEOUT_S
    workers = _look(layout, manifest, ())
    while not _is_decided(workers, manifest) and time.monotonic() < deadline:
        time.sleep(POLL_S)
        workers = _look(layout, manifest, workers)
    if not workers:
        CONSOLE.print("no worker runs on this machine; the next one to start loads it")
        return 0
    CONSOLE.print(_table(workers))
    for worker in workers:
        if worker.refusal:
            CONSOLE.print(f"worker {worker.pid} refused: {worker.refusal}")
    if _is_refused(workers, manifest) or not is_converged(workers, manifest.generation):
        CONSOLE.print(
            f"not every worker answers with generation {manifest.generation}; what it had goes on answering. "
            "Undo the change, or see the service's log below SHADOW_HOME/serving"
        )
        return 1
    return 0


def _look(layout: Layout, manifest: DeploymentManifest, before: Sequence[WorkerState]) -> Sequence[WorkerState]:
    """What the workers say; one that was there and is silent while it loads counts with what it said last."""
    found = live_workers(layout, manifest.use_case, datetime.now(UTC))
    pids = {worker.pid for worker in found}
    return [*found, *(worker for worker in before if worker.pid not in pids and psutil.pid_exists(worker.pid))]


def _is_decided(workers: Sequence[WorkerState], manifest: DeploymentManifest) -> bool:
    return _is_refused(workers, manifest) or is_converged(workers, manifest.generation)


def _is_refused(workers: Sequence[WorkerState], manifest: DeploymentManifest) -> bool:
    models = [manifest.champion]
    if manifest.canary is not None and manifest.canary.share > 0:
        models.append(manifest.canary.model)
    return bool(refusing(workers, manifest.generation, {model.version for model in models}))


def _summary(manifest: DeploymentManifest) -> str:
    canary, until = manifest.canary, manifest.probation_until
    parts = [
        f"generation {manifest.generation} of {manifest.use_case}: champion is version {manifest.champion.version}"
    ]
    if until is not None:
        parts.append(f"on probation until {until:%Y-%m-%d %H:%M:%S} UTC")
    if canary is not None and canary.share > 0:
        parts.append(f"canary is version {canary.model.version} with {canary.share:.1%}")
    return ", ".join(parts)


def _table(workers: Sequence[WorkerState]) -> Table:
    table = Table("worker", "generation", "champion", "canary", "loaded at (UTC)", "refusal")
    for worker in workers:
        table.add_row(
            str(worker.pid),
            str(worker.generation),
            worker.champion_version or "none",
            worker.canary_version or "none",
            f"{worker.loaded_at:%H:%M:%S}" if worker.loaded_at else "",
            "yes" if worker.refusal else "",
        )
    return table
