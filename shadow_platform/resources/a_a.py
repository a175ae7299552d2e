"""A/A runs: a model shadows itself in the shadow worker's own process, and what came of it is kept.

Upstream: ``home``, ``deployments``, ``domain.a_a``. Downstream: ``PlatformResource``; the asset of the A/A stage, the
gate and the command line, which all start and read runs here, so that a run by hand counts like any other.
"""

import hashlib
import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from shadow_platform.contracts.a_a import SelfShadowing
from shadow_platform.contracts.errors import RegistryError, ShadowPlatformError
from shadow_platform.contracts.tables import A_A_RUNS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import AAFacts, Outcome
from shadow_platform.domain.a_a import judge
from shadow_platform.resources.deployments import Deployments

if TYPE_CHECKING:
    import pandas as pd

Trigger = Literal["gate", "manual"]


class AARuns(Deployments):
    """Runs in which a model shadows itself."""

    def run_a_a(
        self, use_case: UseCase, version: str, bundle_hash: str, n: int, trigger: Trigger = "manual"
    ) -> dict[str, Any]:
        """Row of ``a_a_runs`` of a new run over the newest ``n`` answers, appended once the whole run is judged.

        Raises:
            ShadowPlatformError: the process that scores ended without a result; nothing is appended.
        """
        self._require_bundle(use_case, version, bundle_hash)
        arguments = ("--a-a", version, "--bundle", bundle_hash, "--requests", str(n))
        seen = SelfShadowing.model_validate_json(self._bento(use_case, "shadow", *arguments))
        verdict = judge(seen, use_case.gate)
        row: dict[str, Any] = {
            "use_case": use_case.name,
            "version": version,
            "bundle_hash": bundle_hash,
            "trigger": trigger,
            "first_request_at": verdict.first_request_at,
            "last_request_at": verdict.last_request_at,
            "n": verdict.n,
            "n_failed": verdict.n_failed,
            "n_differing": verdict.n_differing,
            "n_flips": verdict.n_flips,
            "max_difference": verdict.max_difference,
            "limit": use_case.gate.max_a_a_difference,
            "outcome": verdict.outcome.value,
            "reason": verdict.reason,
            "ran_at": self.now(),
        }
        return self._append_a_a(use_case, row)

    def explain_a_a(self, use_case: UseCase, run_id: str, reason: str, actor: str) -> dict[str, Any]:
        """Row appended because a person accepts a failed run: it passes with its figures as they are.

        Raises:
            ShadowPlatformError: there is no such run, it did not fail, a later one stands for its bundle, or it would
                decide nothing though explained, because it compared too little or tolerated too much.
        """
        runs = self.a_a_runs(use_case)
        found = runs[runs["run_id"].str.startswith(run_id)].to_dict(orient="records")
        if len(found) != 1:
            raise ShadowPlatformError(
                f"{len(found)} A/A runs of {use_case.name} have an id that starts with {run_id!r}, expected one; "
                f"see `shadow a-a list -u {use_case.name}`"
            )
        row = {str(name): value for name, value in found[0].items()}
        standing = self.standing_a_a(use_case, row["bundle_hash"])
        if row["outcome"] != Outcome.FAIL or standing is None or standing["run_id"] != row["run_id"]:
            raise ShadowPlatformError(
                f"A/A run {row['run_id']} is {row['outcome']} and the one that stands for its bundle is "
                f"{standing and standing['run_id']}; only a failed run that stands can be explained"
            )
        told = f"explained by {actor}: {reason} (run {row.pop('run_id')}: {row['reason']})"
        changed = {"trigger": "explained", "outcome": Outcome.PASS.value, "reason": told, "ran_at": self.now()}
        policy, facts = use_case.gate, _facts(standing | changed)
        if shortfall := facts.shortfall(policy.max_a_a_difference, policy.min_a_a):
            raise ShadowPlatformError(
                f"A/A run {facts.run_id} would not count though explained: {shortfall}; let the champion shadow itself "
                f"again with `shadow a-a run -u {use_case.name}`"
            )
        return self._append_a_a(use_case, row | changed)

    def a_a_runs(self, use_case: UseCase, bundle_hash: str | None = None) -> "pd.DataFrame":
        """Every run, or those of one bundle, oldest first."""
        runs = self.lake().read_table(A_A_RUNS, use_case).sort_values(["ran_at", "run_id"], ignore_index=True)
        return runs if bundle_hash is None else runs[runs["bundle_hash"].eq(bundle_hash)].reset_index(drop=True)

    def standing_a_a(self, use_case: UseCase, bundle_hash: str, until: datetime | None = None) -> dict[str, Any] | None:
        """Row of the run that stands for a bundle: the latest that passed or failed, else the latest.

        Args:
            until: runs made later are left out.
        """
        runs = self.a_a_runs(use_case, bundle_hash)
        runs = runs if until is None else runs[runs["ran_at"] <= until]
        decided = runs[runs["outcome"].ne(Outcome.INSUFFICIENT.value)]
        rows = (decided if len(decided) else runs).tail(1).to_dict(orient="records")
        return {str(name): value for name, value in rows[0].items()} if rows else None

    def latest_a_a(self, use_case: UseCase, bundle_hash: str, until: datetime | None = None) -> AAFacts | None:
        """What a decision rests on: the run that stands for a bundle; ``None``: there is none."""
        row = self.standing_a_a(use_case, bundle_hash, until)
        return None if row is None else _facts(row | {"ran_at": row["ran_at"].to_pydatetime()})

    def _require_bundle(self, use_case: UseCase, version: str, bundle_hash: str) -> None:
        if (self.layout.bundles / bundle_hash).is_dir():
            return
        fetched = self.registry().fetch_bundle(use_case.name, version, self.layout.bundles).name
        if fetched != bundle_hash:
            raise RegistryError(
                f"version {version} of {use_case.name} is bundle {fetched} in the registry, expected {bundle_hash}; "
                "deploy it again, so that the manifest names what is registered"
            )

    def _append_a_a(self, use_case: UseCase, row: dict[str, Any]) -> dict[str, Any]:
        """The row with its id, which follows from the rest of it: the same run on a simulated clock has the same."""
        told = json.dumps(row, sort_keys=True, default=str)
        row = {"run_id": hashlib.sha256(told.encode()).hexdigest(), **row}
        self.lake().append_rows(A_A_RUNS, use_case, [row])
        return row


def _facts(row: dict[str, Any]) -> AAFacts:
    """What a decision rests on, from a row of ``a_a_runs``."""
    return AAFacts(
        run_id=row["run_id"],
        n=row["n"],
        n_differing=row["n_differing"],
        max_difference=_number(row["max_difference"]),
        limit=_number(row["limit"]),
        outcome=Outcome(row["outcome"]),
        is_explained=row["trigger"] == "explained",
        ran_at=row["ran_at"],
    )


def _number(value: float | None) -> float | None:
    """A number of a row that may be null."""
    return None if value is None or math.isnan(value) else value
