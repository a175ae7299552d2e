"""A decision as a row, as a page, and as metadata of its asset.

Upstream: a decision and its inputs. Downstream: ``gate_decisions``, the reports below ``SHADOW_HOME``, Dagster's UI.
"""

import json
from datetime import datetime
from logging import Logger
from typing import Any

import dagster as dg
import pandas as pd

from shadow_platform.contracts.tables import GATE_DECISIONS
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import GateDecision
from shadow_platform.domain import gates
from shadow_platform.domain.gates.exposition import expose
from shadow_platform.resources import PlatformResource


def record(
    platform: PlatformResource,
    use_case: UseCase,
    inputs: gates.GateInputs,
    decision: GateDecision,
    now: datetime,
    has_page: bool,
    log: Logger,
) -> dict[str, dg.MetadataValue[Any]]:
    """Metadata of a decision, whose row is appended before its page is written: a full disk costs the page alone.

    A decision that stands already, say of a night whose labels did not come, keeps the row that it has.
    """
    version = decision.challenger_version
    facts: dict[str, dg.MetadataValue[Any]] = {}
    facts[f"decision_{version}"] = dg.MetadataValue.text(decision.decision.value)
    facts[f"criteria_{version}"] = dg.MetadataValue.md(_table(decision))
    decided_at, page = _standing(platform, use_case, decision, now)
    platform.lake().append_rows(GATE_DECISIONS, use_case, [_row(decision, page, decided_at)])
    if not has_page:
        return facts
    shown = expose(inputs, decision, use_case.costs)
    facts[f"why_{version}"] = dg.MetadataValue.md(" ".join(shown.sentences))
    try:
        path, picture = platform.write_decision_page(use_case, decision, inputs.sequence, shown)
    except OSError as error:
        log.warning("the page of decision %s was not written: %s", decision.decision_id[:12], error)
        return facts
    page = path.relative_to(platform.layout.home).as_posix()
    platform.lake().append_rows(GATE_DECISIONS, use_case, [_row(decision, page, decided_at)])
    facts[f"page_{version}"] = dg.MetadataValue.path(str(path))
    if picture:
        facts[f"evidence_{version}"] = dg.MetadataValue.md(picture)
    return facts


def _standing(
    platform: PlatformResource, use_case: UseCase, decision: GateDecision, now: datetime
) -> tuple[datetime, str | None]:
    """When a decision was made, and its page: as its row says, if it is stored already, else now and none.

    One that comes out again behind another on the same version, say because a policy was put back, is made anew: what
    was decided last is what counts.
    """
    rows = platform.lake().read_table(GATE_DECISIONS, use_case).sort_values("decided_at", kind="stable")
    rows = rows[rows["challenger_version"].eq(decision.challenger_version)]
    same = rows[rows["decision_id"].eq(decision.decision_id) & rows["record"].eq(decision.model_dump_json())]
    if same.empty:
        return now, None
    row = same.iloc[-1]
    is_newest = rows["decision_id"].iloc[-1] == decision.decision_id
    has_page = pd.notna(row["page"]) and (platform.layout.home / row["page"]).is_file()
    return row["decided_at"].to_pydatetime() if is_newest else now, row["page"] if has_page else None


def _row(decision: GateDecision, page: str | None, now: datetime) -> dict[str, Any]:
    told = decision.model_dump(mode="json")
    return {
        "use_case": decision.use_case,
        "decision_id": decision.decision_id,
        "sequence_id": decision.sequence_id,
        "purpose": decision.purpose.value,
        "champion_version": decision.champion_version,
        "challenger_version": decision.challenger_version,
        "as_of": decision.as_of,
        "decision": decision.decision.value,
        "reason": decision.reason,
        "criteria": json.dumps(told["criteria"]),
        "maturity": json.dumps(told["maturity"]),
        "fingerprints": json.dumps(decision.fingerprints),
        "record": decision.model_dump_json(),
        "page": page,
        "decided_at": now,
    }


def _table(decision: GateDecision) -> str:
    """Markdown of the criteria, for the UI, from which a browser opens no file."""
    lines = ["| criterion | outcome | n | why |\n|---|---|---|---|\n"]
    lines += [f"| {c.name} | {c.outcome} | {c.n} | {c.reason} |\n" for c in decision.criteria]
    return "".join(lines)
