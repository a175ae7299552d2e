"""Commands on the registry: look at versions, promote and roll back by hand.

Upstream: registry, deployment. Downstream: people on call. Aliases change through the one transition path of the
platform, so a change by hand has the same compare-and-swap, manifest and audit record as one by the gate.
"""

from rich.console import Console
from rich.table import Table

from shadow_platform.cli.deploying import change, change_without_registry
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


def promote_version(
    use_case: str, version: str, reason: str, evidence: str | None, probation_s: float | None, wait: bool
) -> int:
    """Make a version champion; returns the exit code."""
    if probation_s is None:
        probation_s = PlatformResource().settings.slo_probation_seconds
    return change(
        use_case,
        "promote",
        wait,
        version=version,
        reason=reason,
        evidence_id=evidence,
        probation_s=probation_s,
    )


def roll_back(use_case: str, reason: str, wait: bool) -> int:
    """Put the previous champion back, whether the registry answers or not; returns the exit code."""
    platform, found = PlatformResource(), load_use_case(use_case)
    manifest = platform.manifest(found)
    previous = manifest.previous if manifest else None
    if manifest is None or previous is None or not (platform.layout.bundles / previous.bundle_hash).is_dir():
        return change(use_case, "rollback", wait, reason=reason)
    return change_without_registry(use_case, "emergency_rollback", wait, manifest, reason=reason)


def reconcile(use_case: str) -> None:
    """Make registry and deployment agree."""
    platform, found = PlatformResource(), load_use_case(use_case)
    manifest = platform.reconcile(found)
    champion = manifest.champion.version if manifest else "none"
    CONSOLE.print(f"registry and deployment of {found.name} agree: champion {champion}")
