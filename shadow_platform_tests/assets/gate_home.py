"""A served home of which the tests of decisions, reviews and their pages take copies; and what they do to it.

Belongs here: traffic, labels and deployments that a decision rests on. Does not belong here: assertions. Upstream:
``served``, the asset factories. Downstream: tests of the gate, its commands and its page.
"""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from shadow_platform.assets.comparison import build_comparison_assets
from shadow_platform.assets.gates import build_gate_assets
from shadow_platform.assets.promotion import build_promotion_assets
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import GATE_DECISIONS, LABELS, TableSchema
from shadow_platform.contracts.use_case import DecisionCosts, UseCase
from shadow_platform.contracts.verdicts import GateDecision
from shadow_platform_tests.assets.served import CHALLENGER, FAR_OFF, FIRST_DAY, TRUTH, Home
from shadow_platform_tests.assets.served import USE_CASE as SHOP

DAYS, PER_DAY = 12, 60
AS_OF = FIRST_DAY + timedelta(days=DAYS + 1)
USE_CASE = replace(
    SHOP,
    costs=DecisionCosts(false_positive=1.0, false_negative=4.0, currency="EUR", capacity=40),
    gate=replace(SHOP.gate, segments=("channel",)),
)


def served_home(layout: Layout) -> Home:
    """Twelve days of answers in tables; champion far off the truth, the challenger on it.

    A copy of a home that is made once a process: several files of tests begin with it.
    """
    return _template().copied_to(layout)


@cache
def _template() -> Home:
    folder = Path(tempfile.mkdtemp(prefix="served-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = Home(Layout(folder / "home"))
    made.register(*FAR_OFF)
    made.register(*TRUTH)
    made.materialize(next(a for a in build_promotion_assets(SHOP) if a.key.path[-1] == "deployment"))
    made.serve(DAYS, PER_DAY, TRUTH)
    made.materialize(*build_comparison_assets(SHOP)[:2], days=DAYS + 1)
    return made


def decide(home: Home, use_case: UseCase = USE_CASE, as_of: datetime = AS_OF, has_page: bool = False) -> Any:
    """Result of a run of the gate."""
    config = {"as_of": as_of.isoformat(), "write_pages": has_page}
    return home.materialize(build_gate_assets(use_case)[0], config={"gate_decision": config})


def review(home: Home, use_case: UseCase = USE_CASE) -> Any:
    """Result of a run of the reviews."""
    return home.materialize(build_gate_assets(use_case)[1])


def stored(home: Home) -> list[GateDecision]:
    """Decisions as stored, in order of time."""
    rows = home.lake.read_table(GATE_DECISIONS, USE_CASE).sort_values(["as_of", "decided_at"])
    return [GateDecision.model_validate_json(record) for record in rows["record"]]


def promote(home: Home, decision_id: str) -> None:
    """Make the challenger champion on the strength of a decision, and keep the champion before in the shadow."""
    before = home.manifest().champion.version
    terms = {"actor": "gate", "reason": "better", "evidence_id": decision_id}
    home.platform.deploy(USE_CASE, "promote", version=CHALLENGER, expected_champion=before, **terms)
    home.platform.deploy(USE_CASE, "add_challenger", version=before, actor="gate", reason="watch")


def correct_labels(home: Home, known_at: datetime, changes: Callable[[pd.DataFrame], Any]) -> int:
    """Say the contrary of some labels at a later time; the number of corrections, each a row of its own."""
    labels = home.lake.read_table(LABELS, USE_CASE)
    wrong = labels[changes(labels)]
    corrected = wrong.assign(label=~wrong["label"].astype(bool), known_at=known_at, event_at=known_at)
    home.lake.append_rows(LABELS, USE_CASE, corrected)
    return len(corrected)


def change_rows(
    home: Home, schema: TableSchema, changes: Callable[[pd.DataFrame], pd.DataFrame], day: int | None = None
) -> None:
    """Replace rows of a table of requests, of one day or of all."""
    for offset in range(DAYS) if day is None else (day,):
        date = (FIRST_DAY + timedelta(days=offset)).date()
        rows = home.lake.read_table(schema, USE_CASE, date, date + timedelta(days=1))
        home.lake.write_table(schema, USE_CASE, date, changes(rows))
