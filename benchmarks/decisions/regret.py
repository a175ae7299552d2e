"""Regret of each policy against the best one, on every simulator and on recorded flights.

Months are played by the time machine: at scale 1 as many of 180 days as a use case has events for, of half of its
simulated entities; at any scale at least four weeks, and as many entities as the first model takes. What cannot be
played is a row that says why. Upstream: shadow_platform.time_machine. Downstream: docs/benchmarks.md.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.drift.tables import Table
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.telemetry.quiet import quiet
from shadow_platform.time_machine import POLICIES, Journey, Trip, plan_trip
from shadow_platform.use_cases import load_use_case, use_case_names

DAYS, STEP_DAYS, MIN_DAYS, ENTITIES_SHARE = 180, 7, 28, 0.5
# Of fewer there are too few rows to train the first model; of so few positives its usual family learns nothing.
MIN_ENTITIES = {"churn": 400, "credit": 8_000, "fraud": 800}
MODELS = {"fraud": "gradient_boosting"}
COUNTS = ("retrainings", "promotions", "rollbacks")
HEADER = ("use case", "policy", "days", "answers", "log loss", "regret", *COUNTS, "days/s")
Played = tuple[dict[str, Any], float] | str


def measure(scale: float = 1.0) -> Iterator[Table]:
    """One table of all use cases."""
    table = Table("Policies played over months: mean log loss by the truth, and regret against the best", HEADER)
    with tempfile.TemporaryDirectory() as folder:
        for name in use_case_names():
            played = {policy: _play(load_use_case(name), policy, scale, Path(folder) / name) for policy in POLICIES}
            _add(table, name, played)
            shutil.rmtree(Path(folder) / name, ignore_errors=True)
    yield table.end(
        "Log loss in nats an answer, over every answer whose truth is known. Regret: above the best of these policies, "
        "which nobody knows beforehand. Days a second without landing the world and training the first model."
    )


def _add(table: Table, name: str, played: Mapping[str, Played]) -> None:
    losses = [found[0]["log_loss"] for found in played.values() if not isinstance(found, str)]
    best = min((loss for loss in losses if loss is not None), default=None)
    for policy, found in played.items():
        if isinstance(found, str):
            table.add([name, policy, f"not played: {found}", *[""] * (len(HEADER) - 3)], {"reason": found})
            continue
        summary, rate = found
        loss = summary["log_loss"]
        regret = None if loss is None or best is None else loss - best
        cells = [name, policy, str(summary["trip"]["n_days"]), f"{summary['n_answers']:,}", _number(loss)]
        cells += [_number(regret), *(str(summary[f"n_{what}"]) for what in COUNTS), f"{rate:.2f}"]
        table.add(cells, {**summary, "regret": regret, "days_per_second": rate})


def _play(use_case: UseCase, policy: str, scale: float, folder: Path) -> Played:
    """Summary of a journey and its days a second, or why it cannot be played."""
    try:
        trip = _trip(use_case, policy, scale)
        journey = Journey(trip, folder / policy, folder / "worlds")
        with quiet():
            summary = journey.play()
    except ShadowPlatformError as error:
        return " ".join(str(error).split()).replace("|", "/")
    finally:
        shutil.rmtree(folder / policy, ignore_errors=True)
    return summary, journey.days_per_second


def _trip(use_case: UseCase, policy: str, scale: float) -> Trip:
    """The longest trip of at most so many days."""
    n_days = max(MIN_DAYS, round(DAYS * scale / STEP_DAYS) * STEP_DAYS)
    plan, model = None, MODELS.get(use_case.name)
    if use_case.simulation is not None:
        default = use_case.simulation.default.n_entities or 1
        wanted = max(MIN_ENTITIES.get(use_case.name, 1), round(default * ENTITIES_SHARE * scale))
        plan = SimulationPlan(n_entities=min(default, wanted))
    while n_days > MIN_DAYS:
        try:
            return plan_trip(use_case, policy, plan, n_days=n_days, step_days=STEP_DAYS, model=model)
        except ShadowPlatformError:
            n_days -= STEP_DAYS
    return plan_trip(use_case, policy, plan, n_days=n_days, step_days=STEP_DAYS, model=model)


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"
