"""Which subjects a challenger answers: the canary in force, and the side of it a subject is on.

Belongs here: the draw and its probability. Does not belong here: starting, raising and halting a canary
(``adapters.deployment``), judging it (``domain.slo``), answering (bento). Pure.
Upstream: deployment manifest, settings. Downstream: the predictor, ``GET /model``, the guard.
"""

from hashlib import blake2b

from shadow_platform.contracts.deployment import Canary, DeployedModel, DeploymentManifest
from shadow_platform.contracts.records import Variant

_HASHES = 1 << 64


def routing(manifest: DeploymentManifest, split: float) -> Canary | None:
    """The canary in force; a halted one has share 0.

    A canary that was started by hand counts until it is halted. Without one, a ``split`` above 0 (``CANARY_SPLIT``)
    makes the newest challenger a canary, unless this very version was halted: only a person starts it again.
    """
    written = manifest.canary
    if written is not None and written.halted_reason is None:
        return written
    newest = manifest.challengers[0] if split > 0.0 and manifest.challengers else None
    if newest is None or (written is not None and written.model.version == newest.version):
        return written and written.model_copy(update={"share": 0.0})
    return Canary(model=newest, share=split, salt=_salt(manifest.use_case, newest), started_at=newest.since)


def variant_of(canary: Canary, subject_id: str) -> Variant:
    """Who answers the subject; the same as long as the salt is.

    The subject's hash is uniform on [0, 1) and compared with the share, so whoever is in stays in when the share rises.

    >>> from datetime import datetime, UTC
    >>> at = datetime(2024, 1, 1, tzinfo=UTC)
    >>> model = DeployedModel(version="2", bundle_hash="", model_name="m", since=at)
    >>> canary = Canary(model=model, share=0.5, salt="s", started_at=at)
    >>> [variant_of(canary, subject) for subject in "abcd"]
    ['canary', 'champion', 'champion', 'champion']
    """
    digest = blake2b(f"{canary.salt}\0{subject_id}".encode(), digest_size=8).digest()
    return "canary" if int.from_bytes(digest) < canary.share * _HASHES else "champion"


def propensity_of(canary: Canary, variant: Variant) -> float:
    """Probability with which ``variant_of`` gives this variant."""
    return canary.share if variant == "canary" else 1.0 - canary.share


def _salt(use_case: str, model: DeployedModel) -> str:
    """The same in every worker and process, another for each rollout."""
    return f"{use_case}:{model.version}:{model.since.timestamp():.6f}"
