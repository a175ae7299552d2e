"""``shadow canary``: let a challenger answer a share of subjects, look how it does, take it back.

Upstream: deployment, logs. Downstream: people on call. What a change leads to is told by ``cli.deploying``.
"""

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from bento.guard import canary_in_force, objectives_of
from bento.slo_window import SloWindow
from shadow_platform.adapters.deployment import is_registry_behind
from shadow_platform.adapters.deployment.worker_states import live_workers
from shadow_platform.cli.deploying import change, change_without_registry
from shadow_platform.contracts.deployment import Canary, DeploymentManifest
from shadow_platform.contracts.errors import NoChampion, RegistryError
from shadow_platform.resources import PlatformResource
from shadow_platform.settings import Settings
from shadow_platform.use_cases import load_use_case

CONSOLE = Console()


def start_canary(use_case: str, version: str, share: float, reason: str, wait: bool, by: str | None = None) -> int:
    """Let a challenger answer a share of subjects; returns the exit code."""
    return change(use_case, "start_canary", wait, by, version=version, share=share, reason=reason)


def change_share(use_case: str, share: float, reason: str, wait: bool, by: str | None = None) -> int:
    """Give the canary more or fewer subjects; returns the exit code."""
    return change(use_case, "set_canary_share", wait, by, share=share, reason=reason)


def stop_canary(use_case: str, reason: str, wait: bool, by: str | None = None) -> int:
    """Take the canary back, whether the registry answers or not; returns the exit code."""
    manifest, settings = _deployed(use_case)
    canary = canary_in_force(manifest, settings)
    if canary is None:
        raise RegistryError(
            f"no canary of {manifest.use_case} answers; {_by_split(manifest, settings) or _last(manifest)}"
            "start one first"
        )
    return change_without_registry(use_case, "halt_canary", wait, manifest, by, canary=canary, reason=reason)


def show_status(use_case: str) -> None:
    """Print how canary and champion did in the latest window, and what is on probation."""
    manifest, settings = _deployed(use_case)
    canary = canary_in_force(manifest, settings)
    window = SloWindow(settings.layout, manifest, canary, settings.slo_window_seconds)
    of_canary, of_champion = window.verdicts(objectives_of(settings))
    table = Table("variant", "version", "share", "requests", "p95 ms", "failed", "verdict")
    rows = [("champion", manifest.champion.version, 1.0 - (canary.share if canary else 0.0), of_champion)]
    if canary is not None:
        rows.append(("canary", canary.model.version, canary.share, of_canary))
    for variant, version, share, verdict in rows:
        p95 = "" if verdict.p95_ms is None else f"{verdict.p95_ms:.1f}"
        said = f"{verdict.outcome}: {verdict.reason}"
        table.add_row(variant, version, f"{share:.1%}", str(verdict.n), p95, str(verdict.n_failed), said)
    CONSOLE.print(table)
    for line in _remarks(manifest, canary, settings):
        CONSOLE.print(line)


def _remarks(manifest: DeploymentManifest, canary: Canary | None, settings: Settings) -> list[str]:
    lines = [f"requests since {manifest.written_at:%Y-%m-%d %H:%M:%S} UTC, at most {settings.slo_window_seconds:g} s"]
    if canary is None:
        split = _by_split(manifest, settings)
        lines.append(split.rstrip("; ") if split else f"no canary answers; {_last(manifest)}".rstrip("; "))
    elif manifest.canary is None:
        lines.append("the canary is in force by CANARY_SPLIT")
    left_s = (manifest.probation_until - datetime.now(UTC)).total_seconds() if manifest.probation_until else 0.0
    if left_s > 0:
        lines.append(f"version {manifest.champion.version} is on probation for another {left_s / 60:.1f} min")
    if is_registry_behind(settings.layout, manifest.use_case):
        lines.append("the registry's aliases still have to follow; run `shadow models reconcile` once it answers")
    return lines


def _by_split(manifest: DeploymentManifest, settings: Settings) -> str:
    """What the workers answer with although neither the manifest nor these settings know of a canary."""
    workers = live_workers(settings.layout, manifest.use_case, datetime.now(UTC))
    versions = sorted({worker.canary_version for worker in workers if worker.canary_version})
    if not versions:
        return ""
    return f"but workers answer with canary {', '.join(versions)}: set CANARY_SPLIT as the service has it; "


def _last(manifest: DeploymentManifest) -> str:
    ended = manifest.canary
    return "" if ended is None else f"the last one, version {ended.model.version}, ended: {ended.halted_reason}; "


def _deployed(use_case: str) -> tuple[DeploymentManifest, Settings]:
    platform, found = PlatformResource(), load_use_case(use_case)
    manifest = platform.manifest(found)
    if manifest is None:
        raise NoChampion(found.name, platform.layout.manifest(found.name))
    return manifest, platform.settings
