"""Commands on the registry: look at versions, promote and roll back by hand.

Upstream: registry, deployment. Downstream: people on call. Aliases change through the one transition path of the
platform, so a change by hand has the same compare-and-swap, manifest and audit record as one by the gate.
"""

import getpass

from rich.console import Console
from rich.table import Table

from shadow_platform.contracts.tables import MODEL_TRANSITIONS
from shadow_platform.resources import PlatformResource
from shadow_platform.use_cases import load_use_case

CONSOLE = Console()
SHOWN_METRICS = ("roc_auc", "log_loss", "brier", "f1")


def list_versions(use_case: str) -> None:
    """Print every version, newest first."""
    table = Table("version", "model", "aliases", "registered", *SHOWN_METRICS, "bundle")
    for version in reversed(PlatformResource().registry().versions(load_use_case(use_case).name)):
        metrics = [f"{version.metrics[name]:.4f}" if name in version.metrics else "" for name in SHOWN_METRICS]
        table.add_row(
            version.version,
            version.model_name,
            ", ".join(version.aliases),
            f"{version.created_at:%Y-%m-%d %H:%M}",
            *metrics,
            version.bundle_hash[:12],
        )
    CONSOLE.print(table)


def show_version(use_case: str, version: str) -> None:
    """Print all that is known of one version."""
    found = PlatformResource().registry().get(load_use_case(use_case).name, version)
    table = Table("", "", show_header=False)
    for name in ("use_case", "version", "model_name", "bundle_hash", "run_id", "created_at"):
        table.add_row(name, str(getattr(found, name)))
    table.add_row("aliases", ", ".join(found.aliases))
    for name, value in sorted(found.metrics.items()):
        table.add_row(f"metric {name}", f"{value:.6f}")
    for name, text in sorted(found.tags.items()):
        table.add_row(f"tag {name}", text)
    CONSOLE.print(table)


def show_history(use_case: str) -> None:
    """Print every alias change, oldest first."""
    columns = MODEL_TRANSITIONS.column_names[2:]
    table = Table(*columns)
    for row in PlatformResource().transitions(load_use_case(use_case)):
        table.add_row(*("" if row[name] is None else str(row[name]) for name in columns))
    CONSOLE.print(table)


def promote_version(use_case: str, version: str, reason: str, evidence: str | None) -> None:
    """Make a version champion."""
    manifest = PlatformResource().deploy(
        load_use_case(use_case),
        "promote",
        version=version,
        actor=getpass.getuser(),
        reason=reason,
        evidence_id=evidence,
    )
    CONSOLE.print(f"champion of {manifest.use_case} is now version {manifest.champion.version}")


def roll_back(use_case: str, reason: str) -> None:
    """Put the previous champion back."""
    manifest = PlatformResource().deploy(load_use_case(use_case), "rollback", actor=getpass.getuser(), reason=reason)
    CONSOLE.print(f"champion of {manifest.use_case} is again version {manifest.champion.version}")
