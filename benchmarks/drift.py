"""How often the drift verdict errs, what it sees, and what it costs against Evidently.

``python -m benchmarks.drift`` (two minutes); ``--full`` for the table of docs/methods.md with more repetitions, 100,000
rows and a million rows against Evidently (an hour on two cores). ``--only`` runs one part. Upstream: domain.drift,
simulated frames, recorded requests of a use case. Downstream: docs/methods.md, which quotes the figures.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd

from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import DriftPolicy, UseCase
from shadow_platform.contracts.verdicts import DriftVerdict
from shadow_platform.domain.drift import evaluate_drift
from shadow_platform.domain.events import parse_events
from shadow_platform.use_cases import load_use_case, use_case_names
from shadow_platform_tests.domain.drift.frames import LEVELS, Change, features, frame, judge, share_failing

PARTS = ("rates", "days", "cost", "recorded")
SHAPE: dict[str, Any] = {"n_numeric": 18, "n_categorical": 7}
RECORDED = "flights"
DAY = timedelta(days=1)


def _same(rows: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    return rows


def _one(rows: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    return rows.assign(n1=rows["n1"] + 0.2)


def _all(rows: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    return rows.assign(**{f"n{i}": rows[f"n{i}"] + 0.1 for i in range(SHAPE["n_numeric"])})


def _mix(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    moved = (rows["c1"] == LEVELS[0]) & (rng.random(len(rows)) < 0.05 / 0.40)
    return rows.assign(c1=rows["c1"].mask(moved, LEVELS[-1]))


def _nulls(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return rows.assign(n0=rows["n0"].mask(rng.random(len(rows)) < 0.02))


def _unlinked(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return rows.assign(n2=rng.permutation(rows["n2"].to_numpy()))


CHANGES: dict[str, tuple[Change, float]] = {
    "no drift (false alarms)": (_same, 0.0),
    "one feature +0.2 sd": (_one, 0.0),
    "all numbers +0.1 sd": (_all, 0.0),
    "one category mix, 5 points": (_mix, 0.0),
    "nulls 1 to 3 %": (_nulls, 0.0),
    "correlation 0.3 to 0": (_unlinked, 0.3),
}


def print_rates(sizes: dict[int, int]) -> None:
    """Table of failing verdicts on independent rows, in percent, by rows in reference and window."""
    print("\nIndependent rows, 25 features; share of failing verdicts (rows counted by day / as independent)")
    print(f"{'':28}" + "".join(f"{n:>16,}" for n in sizes))
    for name, (change, correlation) in CHANGES.items():
        cells = []
        for n, repetitions in sizes.items():
            shares = [
                share_failing(n, repetitions, DriftPolicy(cluster=cluster), change, correlation=correlation, **SHAPE)
                for cluster in ("day", None)
            ]
            cells.append(" / ".join(f"{share:.0%}" for share in shares))
        print(f"{name:28}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def print_days(repetitions: int) -> None:
    """False alarms when a day moves every feature by some standard deviations, none of it drift."""
    print("\nNo drift, but rows of a day are alike; 2,000 rows each; false alarms (counted by day / as independent)")
    spans = ((60, 28), (60, 7), (60, 1), (5, 5), (2, 2))
    print(f"{'day effect, sd':28}" + "".join(f"{f'{r} v {c} days':>16}" for r, c in spans))
    for effect in (0.1, 0.3, 1.0):
        cells = []
        for reference_days, current_days in spans:
            shares = [
                share_failing(
                    2_000,
                    repetitions,
                    DriftPolicy(cluster=cluster),
                    reference_days=reference_days,
                    current_days=current_days,
                    day_effect=effect,
                    **SHAPE,
                )
                for cluster in ("day", None)
            ]
            cells.append(" / ".join(f"{share:.1%}" for share in shares))
        print(f"{effect:<28}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def print_cost(n: int) -> None:
    """Seconds of one verdict and of Evidently's drift report on the same frames, and their ratio."""
    reference, current = frame(n, 1, n_days=60, **SHAPE), frame(n, 2, **SHAPE)
    chosen = features(**SHAPE)
    ours = _timed(lambda: judge(reference, current, None, chosen))
    theirs = _timed(lambda: _evidently(reference, current))
    print(f"\n{n:,} rows each, 25 features: seconds (wall, CPU)")
    print(f"verdict   {ours[0]:8.1f} {ours[1]:8.1f}")
    print(f"Evidently {theirs[0]:8.1f} {theirs[1]:8.1f}   {theirs[0] / ours[0]:.1f} times as long", flush=True)


def _evidently(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    names = [feature.name for feature in features(**SHAPE)]
    numeric = [name for name in names if name.startswith("n")]
    definition = DataDefinition(
        numerical_columns=numeric, categorical_columns=[name for name in names if name not in numeric]
    )
    sets = [Dataset.from_pandas(rows[names], data_definition=definition) for rows in (current, reference)]
    Report([DataDriftPreset()]).run(*sets).dict()


def recorded_requests(use_case: UseCase, first: date, last: date) -> pd.DataFrame:
    """Requests of recorded days, both ends included, with the features that come with them."""
    source = use_case.source()
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Layout(Path(folder)))
        day = max(first - DAY, source.first_day())
        while day <= last:
            received = source.received_on(day)
            for kind in use_case.events:
                content = b"".join(orjson.dumps(row) + b"\n" for row in received.get(kind.name, ()))
                lake.write_events(use_case, kind, day, parse_events(content, kind, kind.name, day).valid)
            day += DAY
        start = datetime(first.year, first.month, first.day, tzinfo=UTC)
        window = {"start": start, "end": start + (last - first + DAY)}
        return lake.events_sql(use_case.requests_sql, use_case, use_case.events, window)


def print_recorded(permutations: int) -> None:
    """Verdicts on recorded requests: neighbouring months, seasons, and random days of one winter."""
    if RECORDED not in use_case_names():
        print(f"\nno use case {RECORDED} is installed")
        return
    use_case = load_use_case(RECORDED)
    winter, spring, summer = (
        recorded_requests(use_case, date(2013, *first), date(2013, *last))
        for first, last in (((1, 1), (2, 28)), ((3, 1), (3, 31)), ((7, 1), (7, 31)))
    )
    february = winter["requested_at"] >= pd.Timestamp(2013, 2, 1, tz="UTC")
    january = ~february & (winter["requested_at"] >= pd.Timestamp(2013, 1, 4, tz="UTC"))
    pairs = {
        "January (same weekdays) v February": (winter[january], winter[february]),
        "January and February v March": (winter, spring),
        "January and February v July": (winter, summer),
    }
    print(f"\nRecorded requests of {use_case.name}, {len(use_case.request_features)} request features")
    for name, (reference, current) in pairs.items():
        verdict = _judge_recorded(use_case, reference, current)
        print(f"{name:36}{verdict.outcome.value:8}{', '.join(verdict.rules_fired)}")
    days = winter["requested_at"].dt.floor("D")
    chosen, rng, failing = days.unique(), np.random.default_rng(0), 0
    for _ in range(permutations):
        is_current = days.isin(rng.choice(chosen, 28, replace=False))
        failing += _judge_recorded(use_case, winter[~is_current], winter[is_current]).outcome.value == "fail"
    print(f"28 random winter days v the others: {failing} of {permutations} fail", flush=True)


def _judge_recorded(use_case: UseCase, reference: pd.DataFrame, current: pd.DataFrame) -> DriftVerdict:
    start, end = current["requested_at"].min().to_pydatetime(), current["requested_at"].max().to_pydatetime()
    chosen, policy = use_case.request_features, use_case.drift
    return evaluate_drift(use_case.name, chosen, reference, current, policy, start, end, "recorded")


def main() -> None:
    """Run the chosen parts and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--full", action="store_true", help="all repetitions and sizes of docs/methods.md")
    parser.add_argument("--only", choices=PARTS, help="one part")
    arguments = parser.parse_args()
    full = arguments.full
    parts: dict[str, Callable[[], None]] = {
        "rates": lambda: print_rates({1_000: 300, 10_000: 100, 100_000: 20} if full else {1_000: 20, 10_000: 5}),
        "days": lambda: print_days(300 if full else 10),
        "cost": lambda: print_cost(1_000_000 if full else 100_000),
        "recorded": lambda: print_recorded(200 if full else 25),
    }
    for name, part in parts.items():
        if arguments.only in (None, name):
            part()


if __name__ == "__main__":
    main()
