"""How near the models of each simulated product come to the ceiling of its world, and what its events cost.

Run from the root of the repository: ``python -m benchmarks.products [--use-case churn] [--entities 50000]``.
Part 1 generates the events of a world of the given size and times it. Part 2 plays the demo of each product in a fresh
folder and holds every model's answers on the served requests against the simulator's own (Bayes) probability, which no
model can beat but by luck. Upstream: simulators, the demo. Downstream: docs/benchmarks.md.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.use_cases import load_use_case, use_case_names
from shadow_platform_tests.end_to_end.played import Played


def generate(name: str, n_entities: int | None, n_days: int) -> None:
    """Time the raw events of a world without drift; run in a process of its own, so that its memory is its own."""
    simulation = load_use_case(name).simulation
    assert simulation is not None
    simulator = simulation.simulator(SimulationPlan(n_entities=n_entities, drifts=()))
    began, n_rows = time.perf_counter(), 0
    for offset in range(n_days):
        received = simulator.received_on(simulator.first_day() + timedelta(days=offset))
        n_rows += sum(len(rows) for rows in received.values())
    seconds = time.perf_counter() - began
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name}: {simulator.plan.n_entities:,} {simulation.entities} x {n_days} days: {n_rows:,} events in "
        f"{seconds:.1f} s ({n_rows / seconds:,.0f}/s), peak {peak_mib:,.0f} MiB",
        flush=True,
    )


def play(name: str) -> None:
    """Play the demo in a fresh folder and print what every model reached."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "data"
        command = [sys.executable, "-c", "from shadow_platform.cli import app; app()", "demo", "--use-case", name]
        began = time.perf_counter()
        subprocess.run(command, env={**os.environ, "SHADOW_HOME": str(home)}, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        played = Played(name, home)
        families = played.sql("SELECT version, model_name FROM model_versions").set_index("version")["model_name"]
        print(
            f"\n{name}: demo {seconds:.0f} s, {len(played.truth):,} requests, "
            f"{played.truth['label'].mean():.2%} positive"
        )
        print("| model | requests | AUC | ceiling AUC | log loss | ceiling log loss |\n|---|---|---|---|---|---|")
        for version, rows in played.answers().groupby("model_version"):
            label, truth = rows["label"].astype(bool), np.clip(rows["true_probability"], 0.01, 0.99)
            said = np.clip(rows["probability"], 0.01, 0.99)
            print(
                f"| {version} {families[version]} | {len(rows):,} | {roc_auc_score(label, said):.3f} | "
                f"{roc_auc_score(label, truth):.3f} | {log_loss(label, said):.4f} | {log_loss(label, truth):.4f} |"
            )
        for row in played.sql("SELECT challenger_version, decision FROM gate_decisions").itertuples(index=False):
            print(f"gate on version {row.challenger_version}: {row.decision}", flush=True)


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    simulated = [name for name in use_case_names() if load_use_case(name).simulation]
    parser.add_argument("--use-case", choices=simulated, action="append")
    parser.add_argument("--entities", type=int, help="size of the generated world; default: the use case's own")
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--only", choices=["generate", "play"])
    options = parser.parse_args()
    for name in options.use_case or simulated:
        if options.only != "play":
            size = f"{options.entities!r}, {options.days}"
            script = f"from benchmarks.products import generate; generate({name!r}, {size})"
            subprocess.run([sys.executable, "-c", script], check=True)
        if options.only != "generate":
            play(name)


if __name__ == "__main__":
    main()
