"""Commands that change which version serves: promote and roll back by hand, reconcile.

Upstream: registry, deployment. Downstream: people on call. Aliases change through the one transition path of the
platform, so a change by hand has the same compare-and-swap, manifest and audit record as one by the gate.
"""

from rich.console import Console

from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.cli.deploying import change, change_without_registry
from shadow_platform.settings import load_settings
from shadow_platform.use_cases import load_use_case


def promote_version(
    use_case: str, version: str, reason: str, evidence: str | None, probation_s: float | None, wait: bool, by: str
) -> int:
    """Make a version champion, booked to ``by``; returns the exit code."""
    if probation_s is None:
        probation_s = load_settings().slo_probation_seconds
    return change(
        use_case,
        "promote",
        wait,
        by,
        version=version,
        reason=reason,
        evidence_id=evidence,
        probation_s=probation_s,
    )


def roll_back(use_case: str, reason: str, wait: bool, by: str | None = None) -> int:
    """Put the previous champion back, whether the registry answers or not; returns the exit code."""
    layout = load_settings().layout
    # Importing a product's package costs seconds that a bad champion goes on answering.
    is_served = use_case in {path.stem for path in layout.manifests()}
    name = use_case if is_served else load_use_case(use_case).name
    manifest = read_manifest(layout.manifest(name))
    previous = manifest.previous if manifest else None
    if manifest is None or previous is None or not (layout.bundles / previous.bundle_hash).is_dir():
        return change(use_case, "rollback", wait, by, reason=reason)
    return change_without_registry(use_case, "emergency_rollback", wait, manifest, by, reason=reason)


def reconcile(use_case: str) -> None:
    """Make registry and deployment agree."""
    from shadow_platform.resources import PlatformResource

    found = load_use_case(use_case)
    manifest = PlatformResource().reconcile(found)
    champion = manifest.champion.version if manifest else "none"
    Console().print(f"registry and deployment of {found.name} agree: champion {champion}")
