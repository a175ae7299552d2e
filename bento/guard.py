"""The guard: takes a canary back, or a champion on probation, that breaches the service's objectives. Once, for good.

Run as ``python -m bento.guard`` beside the service, of which it needs the logs and the manifest alone: no registry, no
answer of the service itself. Belongs here: when to look and what to do. Does not belong here: the verdict
(``domain.slo``), how the deployment changes (``adapters.deployment``). Upstream: prediction log, log of failures,
manifest. Downstream: manifest, audit log.

A verdict is about one generation of the manifest and its traffic alone: whatever a person changes begins a new window,
and wins over a verdict that comes too late. The canary goes first: while it is in breach the champion is not judged,
because a slow canary takes the machine away from it.
"""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bento.orphan import is_orphan
from bento.package import seed_from_package, with_packaged_use_case
from bento.slo_window import SloWindow
from bento.stopping import StopEvent
from shadow_platform.adapters import deployment
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.contracts.deployment import Canary, DeploymentManifest
from shadow_platform.contracts.errors import AlreadyRunning, ShadowPlatformError, TransitionConflict
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.verdicts import Frozen, Outcome
from shadow_platform.domain.canary import routing
from shadow_platform.domain.slo import Objectives, SloVerdict, halting_reason
from shadow_platform.settings import Settings, load_settings
from shadow_platform.telemetry.logs import configure_logging, fail
from shadow_platform.use_cases import load_use_case

LOGGER = logging.getLogger("shadow_platform.guard")

ACTOR = "slo-guard"
TICK_S = 1.0
RETRY_S = 5.0


def objectives_of(settings: Settings) -> Objectives:
    """What the settings promise of this service."""
    return Objectives(settings.slo_p95_ms, settings.slo_error_rate, settings.slo_min_requests)


def canary_in_force(manifest: DeploymentManifest, settings: Settings) -> Canary | None:
    """The canary that answers somebody, by the manifest or by ``CANARY_SPLIT``."""
    canary = routing(manifest, settings.canary_split)
    return canary if canary is not None and canary.share > 0 else None


class Evidence(Frozen):
    """What a breach was concluded from; the audit record names its id."""

    evidence_id: str
    generation: int
    judged_at: datetime
    canary: SloVerdict
    champion: SloVerdict


def evidence_path(layout: Layout, use_case: str, evidence_id: str) -> Path:
    """File of one evidence, for people."""
    return layout.reports(use_case) / "slo" / f"{evidence_id}.json"


class Guard:
    """Judges one use case's deployment; ``look`` is one look."""

    def __init__(self, settings: Settings, use_case: str) -> None:
        self._settings = settings
        self._layout = settings.layout
        self._use_case = use_case
        self._objectives = objectives_of(settings)
        self._audit = FileLogSink(settings.layout.log("transitions", use_case))
        self._owes_audit = True
        self._generation: int | None = None
        self._window: SloWindow | None = None
        self._said: str | None = None

    def look(self, now: datetime) -> DeploymentManifest | None:
        """The manifest written in answer to a breach; ``None`` when there was none. Raises ``ShadowPlatformError``."""
        self._settle_audit()
        manifest = deployment.read_manifest(self._layout.manifest(self._use_case))
        if manifest is None:
            return None
        canary = canary_in_force(manifest, self._settings)
        is_on_probation = manifest.probation_until is not None and now < manifest.probation_until
        if canary is None and not is_on_probation:
            self._window = None
            return None
        of_canary, of_champion = self._verdicts(manifest, canary)
        evidence = Evidence(
            evidence_id=f"slo-{self._use_case}-{manifest.generation}",
            generation=manifest.generation,
            judged_at=now,
            canary=of_canary,
            champion=of_champion,
        )
        if canary is not None and of_canary.outcome is Outcome.FAIL:
            return self._halt(canary, evidence)
        if is_on_probation and of_champion.outcome is Outcome.FAIL:
            return self._roll_back(manifest.champion.version, evidence)
        return None

    def run(self, stopped: threading.Event) -> None:
        """Look every ``TICK_S`` until stopped, or until the supervisor is gone."""
        while not stopped.is_set() and not is_orphan(None, generation=1):
            pause_s = TICK_S
            try:
                self.look(datetime.now(UTC))
                self._said = self._said if self._owes_audit else None
            except (TransitionConflict, AlreadyRunning) as error:
                LOGGER.info("%s", error)
            except (ShadowPlatformError, OSError) as error:
                pause_s = RETRY_S
                self._complain(str(error))
            stopped.wait(pause_s)
        self._audit.close()

    def _verdicts(self, manifest: DeploymentManifest, canary: Canary | None) -> tuple[SloVerdict, SloVerdict]:
        if self._window is None or self._generation != manifest.generation:
            self._window = SloWindow(self._layout, manifest, canary, self._settings.slo_window_seconds)
            self._generation = manifest.generation
        self._window.follow()
        return self._window.verdicts(self._objectives)

    def _halt(self, canary: Canary, evidence: Evidence) -> DeploymentManifest:
        reason = halting_reason(evidence.canary, evidence.champion)
        LOGGER.error("canary %s is halted: %s", canary.model.version, reason)
        return self._act(partial(deployment.halt_canary, canary=canary), reason, evidence)

    def _roll_back(self, version: str, evidence: Evidence) -> DeploymentManifest:
        reason = evidence.champion.reason
        LOGGER.error("champion %s is rolled back: %s", version, reason)
        return self._act(deployment.emergency_rollback, reason, evidence)

    def _act(self, change: Callable[..., DeploymentManifest], reason: str, evidence: Evidence) -> DeploymentManifest:
        """Carry the change out. It is in force before its audit record is: one that cannot be appended is owed."""
        self._keep(evidence)
        self._owes_audit = True
        manifest = change(
            self._layout,
            self._audit,
            use_case=self._use_case,
            actor=ACTOR,
            reason=reason,
            expected_generation=evidence.generation,
            now=evidence.judged_at,
            evidence_id=evidence.evidence_id,
        )
        self._owes_audit = False
        return manifest

    def _keep(self, evidence: Evidence) -> None:
        path = evidence_path(self._layout, self._use_case, evidence.evidence_id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(evidence.model_dump_json(indent=2))
        except OSError as error:
            LOGGER.error("%s cannot be written (%s); the audit record has the figures", path, error)

    def _settle_audit(self) -> None:
        """Append what is owed, as soon as it can be; a log that cannot be written must not blind the guard."""
        if not self._owes_audit:
            return
        try:
            deployment.settle_audit(self._layout, self._audit, use_case=self._use_case)
            self._owes_audit = False
        except (ShadowPlatformError, OSError) as error:
            self._complain(f"audit records may be owed, and wait: {error}")

    def _complain(self, text: str) -> None:
        if text != self._said:
            LOGGER.error("%s", text)
        self._said = text


def main(arguments: list[str] | None = None) -> int:
    """Run the guard until SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bento.guard", description=__doc__.splitlines()[0])
    parser.parse_args(arguments)
    stopped = StopEvent()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        settings = with_packaged_use_case(load_settings())
        use_case = load_use_case(settings.shadow_use_case).name
        configure_logging(settings, "guard", use_case)
        seed_from_package(settings.layout)
        Guard(settings, use_case).run(stopped)
    except ShadowPlatformError as error:
        fail(LOGGER, error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
