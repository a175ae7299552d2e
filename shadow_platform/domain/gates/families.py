"""Sequences and their families: which comparison a look belongs to, and how much error it may spend.

Belongs here: identity, order and error of sequences. Does not belong here: what a look shows (``decision``). Upstream:
the sequences opened so far. Downstream: ``gate_sequences``, every criterion that is looked at repeatedly. See
docs/adr/0025.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import GateSequence, Purpose

Model = tuple[str, str]
"""Registry version and hash of the bundle."""


def alpha_of(alpha: float, ordinal: int) -> float:
    """Error of the sequence opened as number ``ordinal`` of its family; those of all ordinals sum up to ``alpha``.

    >>> round(alpha_of(0.05, 1), 4), round(alpha_of(0.05, 2), 4)
    (0.0304, 0.0076)
    """
    if ordinal < 1:
        raise ValueError(f"ordinal {ordinal} of a sequence: they are counted from 1")
    return alpha * 6 / (math.pi * ordinal) ** 2


def policy_text(policy: GatePolicy) -> str:
    """The whole policy as JSON, keys in order: a sequence keeps it and comes out again under other defaults."""
    return json.dumps(asdict(policy), sort_keys=True, separators=(",", ":"))


def declared_text(policy: GatePolicy) -> str:
    """What a policy says besides the defaults, as JSON: its identity, which a further criterion leaves alone."""
    declared = {f.name: getattr(policy, f.name) for f in fields(policy) if getattr(policy, f.name) != f.default}
    return json.dumps(declared, sort_keys=True, separators=(",", ":"))


def open_sequence(
    *,
    use_case: str,
    purpose: Purpose,
    champion: Model,
    challenger: Model,
    policy: GatePolicy,
    evidence_from: datetime,
    known: Sequence[GateSequence],
    now: datetime,
    is_anew: bool = False,
) -> GateSequence:
    """The sequence that a comparison belongs to: the one already known, else the next of its family.

    Args:
        policy: in force now; a known sequence keeps the one it was opened under, which differs only where the
            platform's own defaults do.
        evidence_from: of a watch it belongs to the identity: promoted once more, a champion is watched anew.
        known: sequences opened so far, of this use case or of several.
        now: when it is opened, if it has to be.
        is_anew: ``evidence_from`` belongs to the identity of a challenge as well: the challenger has served, and what
            was seen before does not count any more.
    """
    parts = [use_case, purpose.value, champion[1], challenger[1], declared_text(policy)]
    if purpose is Purpose.WATCH or is_anew:
        parts.append(evidence_from.astimezone(UTC).isoformat())
    sequence_id = hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()
    for sequence in known:
        if sequence.sequence_id == sequence_id:
            return sequence
    taken = [s.ordinal for s in known if (s.use_case, s.purpose, s.champion_bundle) == (use_case, purpose, champion[1])]
    ordinal = max(taken, default=0) + 1
    return GateSequence(
        sequence_id=sequence_id,
        use_case=use_case,
        purpose=purpose,
        champion_version=champion[0],
        challenger_version=challenger[0],
        champion_bundle=champion[1],
        challenger_bundle=challenger[1],
        ordinal=ordinal,
        alpha=alpha_of(policy.alpha, ordinal),
        policy=policy_text(policy),
        evidence_from=evidence_from.astimezone(UTC),
        opened_at=now.astimezone(UTC),
    )
