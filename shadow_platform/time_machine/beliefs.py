"""What becomes of a challenger under each policy: promoted at once, by a figure offline or online, or by the gate.

Belongs here: acting on a belief. Does not belong here: the gate's and the promotion's rules (their assets). Upstream:
``journey``. Downstream: the deployment of the journey's home.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.contracts.tables import GATE_DECISIONS, LABELS, SHADOW_COMPARISONS
from shadow_platform.domain.labels import matured_cohort, pair
from shadow_platform.partitions import start_of
from shadow_platform.time_machine.platform import SimulatedPlatform
from shadow_platform.time_machine.runs import Runs
from shadow_platform.time_machine.story import Event
from shadow_platform.time_machine.trip import Trip
from shadow_platform.time_machine.truth import log_losses


class Beliefs:
    """One policy at work."""

    def __init__(self, trip: Trip, runs: Runs) -> None:
        self._trip, self._use_case, self._runs = trip, trip.use_case, runs

    def trained(self, platform: SimulatedPlatform, version: str, day: date) -> list[Event]:
        """A challenger was trained: some policies know at once what to do with it."""
        belief = self._trip.policy.belief
        if belief == "gate":
            return []
        self._forget_others(platform, version)
        if belief == "newest":
            return self._promote(platform, version, day, "the newest")
        if belief == "evaluation":
            old, new = self._evaluated(platform, version)
            told = f"log loss on its evaluation rows {new:.4f}, the champion's {old:.4f}"
            if new <= old:
                return self._promote(platform, version, day, told)
            platform.deploy(self._use_case, "remove_challenger", version=version, actor="policy", reason=told)
            return [Event(day, "decision", "reject", version, told)]
        return []

    def look(self, platform: SimulatedPlatform, day: date) -> list[Event]:
        """Some days have passed: what is believed of the challengers in the shadow now."""
        manifest = platform.require_manifest(self._use_case, "no champion")
        if self._trip.policy.belief == "gate":
            return self._gate(platform, day)
        if self._trip.policy.belief != "estimate":
            return []
        events: list[Event] = []
        for challenger in manifest.challengers:
            losses = self._answered(platform, manifest.champion.version, challenger.version, day)
            if len(losses) < self._use_case.gate.min_samples:
                continue
            old, new = (float(mean) for mean in losses.mean(axis=0))
            told = f"mean log loss {new:.4f} on {len(losses):,} matured labels, the champion's {old:.4f}"
            if new < old:
                return self._promote(platform, challenger.version, day, told)
            events.append(Event(day, "decision", "wait", challenger.version, told))
        return events

    def _gate(self, platform: SimulatedPlatform, day: date) -> list[Event]:
        use_case, seen = self._use_case, len(platform.transitions(self._use_case))
        manifest = platform.require_manifest(use_case, "no champion")
        if not manifest.challengers:
            return []
        self._runs.must_run("decide", platform, gate_decision={"as_of": platform.simulated_now})
        rows = platform.lake().read_table(GATE_DECISIONS, use_case)
        rows = rows[rows["decided_at"] == pd.Timestamp(platform.simulated_now)].sort_values("challenger_version")
        events = [
            Event(day, "decision", str(row["decision"]), str(row["challenger_version"]), str(row["reason"]))
            for row in rows.to_dict("records")
        ]
        return events + champions(platform.transitions(use_case), seen, day)

    def _promote(self, platform: SimulatedPlatform, version: str, day: date, reason: str) -> list[Event]:
        champion = platform.require_manifest(self._use_case, "no champion").champion.version
        platform.deploy(
            self._use_case,
            "promote",
            version=version,
            expected_champion=champion,
            actor="policy",
            reason=reason,
        )
        return [Event(day, "promotion", "champion", version, reason)]

    def _forget_others(self, platform: SimulatedPlatform, version: str) -> None:
        """Policies without a gate judge one challenger at a time: the newest."""
        manifest = platform.require_manifest(self._use_case, "no champion")
        for model in manifest.challengers:
            if model.version != version:
                platform.deploy(
                    self._use_case,
                    "remove_challenger",
                    version=model.version,
                    actor="policy",
                    reason="a newer one came",
                )

    def _evaluated(self, platform: SimulatedPlatform, version: str) -> tuple[float, float]:
        """Mean log loss of champion and challenger on the rows that the challenger's training kept for evaluation."""
        manifest = platform.require_manifest(self._use_case, "no champion")
        new = platform.bundle(self._use_case, version)
        old = platform.bundle(self._use_case, manifest.champion.version)
        frame = platform.lake().read_frame(self._use_case, new.manifest.fingerprints["data"])
        window = (new.manifest.evaluation_start, new.manifest.evaluation_end)
        rows = frame[
            (frame["requested_at"] >= window[0]) & (frame["requested_at"] < window[1]) & frame["label"].notna()
        ]
        label = rows["label"].to_numpy(np.float64)
        means = [float(log_losses(label, b.predict(b.encode_frame(rows)[0])).mean()) for b in (old, new)]
        return means[0], means[1]

    def _answered(self, platform: SimulatedPlatform, champion: str, challenger: str, day: date) -> np.ndarray[Any, Any]:
        """Log losses of champion and challenger on every matured, labelled request that both answered."""
        use_case, lake, as_of = self._use_case, platform.lake(), datetime.fromisoformat(platform.simulated_now)
        predictions = lake.read_answers(use_case)
        own = predictions[predictions["model_version"].eq(champion) & (predictions["requested_at"] < start_of(day))]
        cohort = matured_cohort(own, lake.read_table(LABELS, use_case), as_of.astimezone(UTC), use_case.label.horizon)
        pairs = pair(cohort, lake.read_table(SHADOW_COMPARISONS, use_case), challenger)
        known = pairs[pairs["label"].notna() & pairs["challenger_probability"].notna()]
        label = known["label"].to_numpy(np.float64)
        columns = [known[name].to_numpy(np.float64) for name in ("probability", "challenger_probability")]
        return np.column_stack([log_losses(label, p) for p in columns])


def champions(transitions: Sequence[Mapping[str, Any]], seen: int, day: date) -> list[Event]:
    """Changes of the champion behind those seen; a version that was champion before is brought back."""
    events, before = list[Event](), set[str]()
    for place, row in enumerate(transitions):
        if row["alias"] != "champion" or row["from_version"] == row["to_version"]:
            continue
        kind = "rollback" if row["to_version"] in before else "promotion"
        before.add(row["to_version"])
        if place >= seen:
            events.append(Event(day, kind, "champion", row["to_version"], row["reason"]))
    return events
