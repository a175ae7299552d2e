"""A stored decision run again: from the same rows, as of the same time, under the policy of its sequence.

Belongs here: finding a stored decision, running it again, naming what differs. Does not belong here: what is noted of a
difference (``reviewing``), printing (command line). Upstream: ``gate_decisions``, ``gate_sequences``. Downstream:
``reviewing``, ``shadow gate``.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from shadow_platform.assets.gates.evidence import inputs_of, look_again
from shadow_platform.assets.gates.sequences import sequence_of
from shadow_platform.contracts.errors import LakeError
from shadow_platform.contracts.tables import GATE_DECISIONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import GateDecision
from shadow_platform.domain import gates
from shadow_platform.resources import PlatformResource


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision as it was stored.

    Attributes:
        record: the bytes that running it again must give.
        page: below the home folder.
    """

    decision: GateDecision
    record: str
    page: str
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Rerun:
    """A stored decision and what running it again gave."""

    stored: GateDecision
    found: GateDecision

    @property
    def is_same(self) -> bool:
        """Whether both are equal byte for byte."""
        return self.stored.model_dump_json() == self.found.model_dump_json()

    @property
    def is_decided_alike(self) -> bool:
        """Whether both conclude the same."""
        return self.stored.decision == self.found.decision

    @property
    def has_same_figures(self) -> bool:
        """Whether both conclude the same from the same figures, whatever else changed."""
        return all(
            getattr(self.stored, name) == getattr(self.found, name) for name in ("decision", "criteria", "maturity")
        )

    @property
    def differing(self) -> tuple[str, ...]:
        """Names of the fingerprints that differ."""
        before, after = self.stored.fingerprints, self.found.fingerprints
        return tuple(name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name))


def decisions(platform: PlatformResource, use_case: UseCase) -> list[StoredDecision]:
    """Every decision that can be run again, oldest first."""
    rows = platform.lake().read_table(GATE_DECISIONS, use_case)
    rows = rows[rows["record"].notna()].sort_values(["decided_at", "decision_id"])
    return [_stored(row) for row in rows.to_dict("records")]


def decision_named(platform: PlatformResource, use_case: UseCase, prefix: str | None) -> StoredDecision:
    """The decision whose id starts so, or the latest; raises ``LakeError`` when there is none, or more than one."""
    known = decisions(platform, use_case)
    found = known[-1:] if prefix is None else [s for s in known if s.decision.decision_id.startswith(prefix.lower())]
    if len(found) == 1:
        return found[0]
    if not known:
        raise LakeError(f"{platform.layout.home} holds no decision on {use_case.name} that can be shown or run again")
    told = ", ".join(s.decision.decision_id[:12] for s in (found or known)[-10:])
    what = "more than one decision" if found else "no decision"
    asked = "" if prefix is None else f" with an id that starts with {prefix!r}"
    raise LakeError(f"{what} on {use_case.name}{asked}; the latest are: {told}")


def run_again(
    platform: PlatformResource, use_case: UseCase, stored: StoredDecision, labels_until: datetime | None = None
) -> Rerun:
    """A stored decision, run again from the tables as they are now.

    Args:
        labels_until: labels known until then count, as in a review; default: as then.

    Raises:
        ShadowPlatformError: its sequence, or the bundle of its challenger, is gone.
    """
    decision = stored.decision
    sequence = sequence_of(platform, use_case, decision.sequence_id)
    look = look_again(decision, stored.decided_at, labels_until)
    return Rerun(decision, gates.decide(inputs_of(platform, use_case, sequence, look)))


def _stored(row: dict[Any, Any]) -> StoredDecision:
    return StoredDecision(
        decision=GateDecision.model_validate_json(row["record"]),
        record=row["record"],
        page=row["page"] if pd.notna(row["page"]) else "",
        decided_at=row["decided_at"].to_pydatetime(),
    )
