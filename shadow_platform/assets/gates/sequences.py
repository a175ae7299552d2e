"""Which comparisons a gate looks at: every challenger in the shadow, and the champion before for as long as it watches.

Belongs here: from the deployment to sequences, opened or continued. Does not belong here: identity and error of a
sequence (domain.gates), what a look reads (``evidence``). Upstream: manifest, audit trail, bundles, ``gate_sequences``.
Downstream: ``decision``, ``replaying``.

``gate_sequences`` is the state: whoever opens a sequence holds the gate's lock from reading the table to appending.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import dagster as dg

from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import LakeError, RegistryError
from shadow_platform.contracts.tables import GATE_SEQUENCES
from shadow_platform.contracts.use_case import GatePolicy, UseCase
from shadow_platform.contracts.verdicts import GateSequence, Purpose
from shadow_platform.domain import gates
from shadow_platform.resources import PlatformResource


def models_to_judge(
    platform: PlatformResource, use_case: UseCase, manifest: DeploymentManifest | None, version: str | None
) -> list[tuple[Purpose, DeployedModel]]:
    """Models in the shadow, and what each is compared with the champion for; what is urgent, a watch, comes first.

    Whoever is in the shadow for longer comes before the others: it has more evidence, and the first of a family may
    spend the most error.

    Args:
        version: only this one; raises ``dg.Failure`` when it is not in the shadow.
    """
    shadowing = list(manifest.challengers) if manifest else []
    if version is not None:
        known = ", ".join(model.version for model in shadowing) or "none"
        shadowing = [model for model in shadowing if model.version == version]
        if not shadowing:
            raise dg.Failure(
                f"challenger version {version!r} is not in the shadow; there: {known}; "
                "deploy it as challenger first, or leave challenger_version out",
                allow_retries=False,
            )
    if manifest is None:
        return []
    is_promoted = came_by_promotion(manifest, platform.transitions(use_case))
    found = [
        (_purpose(manifest, model, use_case, platform.now(), is_promoted), model)
        for model in shadowing
        if model.version != manifest.champion.version
    ]
    return sorted(found, key=lambda each: (each[0] is not Purpose.WATCH, each[1].since))


def _purpose(
    manifest: DeploymentManifest, model: DeployedModel, use_case: UseCase, now: datetime, is_promoted: bool
) -> Purpose:
    is_previous = manifest.previous is not None and model.version == manifest.previous.version
    is_watched = is_previous and is_promoted and now < model.since + use_case.watch_span
    return Purpose.WATCH if is_watched else Purpose.CHALLENGE


def came_by_promotion(manifest: DeploymentManifest, transitions: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the champion was promoted over the one before, not brought back from it.

    A change that undoes the promotion before it is a rollback, whoever made it: the gate, the guard, a person, or the
    registry's alias. While the audit trail does not show yet how the champion came in, nobody says so.

    Args:
        transitions: rows of the audit trail, oldest first.
    """
    changes = _changes_of_champion(transitions)
    champion, promoted, is_promotion = manifest.champion, list[str](), False
    for row in changes:
        promoted = promoted or [row["from_version"]]
        is_promotion = promoted[-2:-1] != [row["to_version"]]
        promoted = [*promoted, row["to_version"]] if is_promotion else promoted[:-1]
    if not is_promotion or changes[-1]["to_version"] != champion.version:
        return False
    return datetime.fromisoformat(changes[-1]["transitioned_at"]) == champion.since


def gave_way_at(champion: DeployedModel, version: str, transitions: Sequence[Mapping[str, Any]]) -> datetime | None:
    """When a version last ceased to be champion, if the champion in force had served before; else ``None``.

    What that champion answered before may be what the version was promoted on once, and says nothing of how it did
    since.

    Args:
        transitions: rows of the audit trail, oldest first; it may not show yet how the champion came in.
    """
    rows = [
        (row["from_version"], row["to_version"], row["transitioned_at"]) for row in _changes_of_champion(transitions)
    ]
    if rows and rows[-1][1] != champion.version:
        rows.append((rows[-1][1], champion.version, champion.since.isoformat()))
    left = [n for n, (before, _, _) in enumerate(rows) if before == version]
    has_served = bool(left) and any(champion.version in row[:2] for row in rows[: left[-1]])
    return datetime.fromisoformat(rows[left[-1]][2]) if has_served else None


def _changes_of_champion(transitions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row in transitions if row["alias"] == "champion" and row["from_version"] != row["to_version"]]


def opened(
    platform: PlatformResource, use_case: UseCase, champion: DeployedModel, model: DeployedModel, purpose: Purpose
) -> GateSequence:
    """The sequence that compares a model with the champion under the policy in force, noted if it is a new one.

    A watch asks how the champion has served since it was promoted; what led to the promotion does not speak for it. Nor
    does it for a version that was promoted and taken back: as a challenger it is compared on what came after.
    """
    known = known_sequences(platform, use_case)
    starts = [platform.bundle(use_case, version).manifest.evaluation_start for version in _versions(champion, model)]
    is_watch = purpose is Purpose.WATCH
    anew = champion.since if is_watch else gave_way_at(champion, model.version, platform.transitions(use_case))
    found = gates.open_sequence(
        use_case=use_case.name,
        purpose=purpose,
        champion=(champion.version, champion.bundle_hash),
        challenger=(model.version, model.bundle_hash),
        policy=use_case.gate,
        evidence_from=max([*starts, anew] if anew else starts),
        is_anew=anew is not None,
        known=known,
        now=platform.now(),
    )
    if found not in known:
        platform.lake().append_rows(GATE_SEQUENCES, use_case, [found.model_dump()])
    return found


def known_sequences(platform: PlatformResource, use_case: UseCase) -> list[GateSequence]:
    """Every sequence opened so far, in order of opening."""
    rows = platform.lake().read_table(GATE_SEQUENCES, use_case).sort_values(["opened_at", "ordinal"])
    return [GateSequence.model_validate(row) for row in rows.to_dict("records")]


def sequence_of(platform: PlatformResource, use_case: UseCase, sequence_id: str) -> GateSequence:
    """A sequence by its id; raises ``LakeError`` when nobody opened it."""
    found = next((s for s in known_sequences(platform, use_case) if s.sequence_id == sequence_id), None)
    if found is None:
        raise LakeError(
            f"sequence {sequence_id} of {use_case.name} is not in gate_sequences; bring the table back from a backup"
        )
    return found


def policy_of(sequence: GateSequence) -> GatePolicy:
    """The policy that a sequence was opened under; raises ``LakeError`` when the code knows other criteria."""
    values: dict[str, Any] = json.loads(sequence.policy)
    known = {field.name for field in fields(GatePolicy)}
    if values.keys() - known:
        raise LakeError(
            f"the policy of sequence {sequence.sequence_id} has {', '.join(sorted(values.keys() - known))}, which this "
            "version of the platform does not know; check out the code that decided"
        )
    return GatePolicy(**{**values, "segments": tuple(values.get("segments", ()))})


def require_bundle(expected: str, found: str, version: str) -> None:
    """Raise ``RegistryError`` unless a version is still the bundle that was compared."""
    if found != expected:
        raise RegistryError(
            f"version {version} is bundle {found} now, {expected} was compared; bring the registry back from a backup"
        )


def _versions(*models: DeployedModel) -> list[str]:
    return [model.version for model in models]
