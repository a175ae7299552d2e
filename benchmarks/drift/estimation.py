"""How far performance estimated without labels is from what the labels say.

Belongs here: a made covariate shift, nannyml's own data and estimates, flights month by month, simulated customers and
applicants. Does not belong here: the estimate (domain.estimation). Upstream: ``recorded``, the peers' environments.
"""

import tempfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from benchmarks.drift.peers.environments import PeerError, run_there
from benchmarks.drift.recorded import midnight, played, recorded
from benchmarks.drift.tables import Table
from benchmarks.retraining import Model, Year
from shadow_platform.contracts.simulation import DriftInjection, SimulationPlan
from shadow_platform.domain.estimation import (
    Calibrator,
    Performance,
    estimate,
    expected_performance,
    fit_calibrator,
    realise,
)
from shadow_platform.domain.training import EVALUATION
from shadow_platform.use_cases import load_use_case

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SHOWN = ("f1", "roc_auc", "log_loss")
CHUNK_ROWS = 5_000
MADE_ROWS, SHIFTS, THRESHOLD = 20_000, (0.0, 0.5, 1.0), 0.5
PERIOD = timedelta(days=14)


def made_shift(draws: int, seed: int) -> Table:
    """Mean absolute error of the estimate, and of assuming no change, as the inputs of a fixed model move."""
    header = ("model", "inputs move by", *(f"{m}: estimate / no change" for m in SHOWN))
    table = Table("Covariate shift made, P(y|x) fixed: mean absolute error", header)
    for model, missed in (("overconfident, but ranks as the truth", 0.0), ("misses an interaction", 0.3)):
        for shift in SHIFTS:
            errors = [_errors(shift, missed, rng) for rng in np.random.default_rng(seed).spawn(draws)]
            means = {name: np.mean([error[name] for error in errors], axis=0) for name in SHOWN}
            cells = [f"{means[name][0]:.4f} / {means[name][1]:.4f}" for name in SHOWN]
            figures = {"model": model, "shift": shift} | {name: means[name].tolist() for name in SHOWN}
            table.add([model, f"{shift:g} sd", *cells], figures)
    return table.end(f"{MADE_ROWS:,} labelled rows of reference, as many of window, {draws} draws.")


def _errors(shift: float, missed: float, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    def drawn(moved: float) -> tuple[Array, Flags, Flags]:
        x = rng.standard_normal((MADE_ROWS, 3)) + moved
        seen = -1.5 + x @ [1.0, 0.5, -0.3]
        score = special.expit(1.5 * seen)
        return score, score >= THRESHOLD, rng.random(len(x)) < special.expit(seen + missed * x[:, 0] * x[:, 1])

    score, decided, label = drawn(0.0)
    before = realise(score, decided, label)
    calibrator = fit_calibrator(score, label)
    score, decided, label = drawn(shift)
    expected, true = estimate(score, decided, calibrator(score)), realise(score, decided, label)
    return {name: (_gap(expected, true, name), _gap(before, true, name)) for name in SHOWN}


def car_loans(home: Path) -> Table | None:
    """The platform's estimates less nannyml's on nannyml's data, and how far nannyml is from its labels."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            theirs = run_there("nannyml", home, "estimate_nannyml", [folder])
        except PeerError as error:
            print(f"  nannyml takes no part: {error}", flush=True)
            return None
        reference, analysis = (pd.read_parquet(Path(folder) / f"{name}.parquet") for name in ("reference", "analysis"))
    calibrator = fit_calibrator(reference["y_pred_proba"].to_numpy(), reference["repaid"].to_numpy(bool))
    chunks = [analysis.iloc[start : start + CHUNK_ROWS] for start in range(0, len(analysis), CHUNK_ROWS)]
    ours = [_estimated(chunk, calibrator) for chunk in chunks]
    header = ("metric", "largest difference of the estimates", "estimate's mean error, ours", "nannyml's")
    table = Table(f"nannyml 0.13.1's car-loan data, {len(chunks)} chunks of {CHUNK_ROWS:,} rows", header)
    for metric, estimated in theirs["estimated"].items():
        own, said, true = (
            np.array([getattr(p, metric) for p in ours]),
            np.array(estimated),
            np.array(theirs["realised"][metric]),
        )
        gap, errors = np.abs(own - said).max(), [np.abs(values - true).mean() for values in (own, said)]
        table.add(
            [metric, f"{gap:.6f}", *(f"{e:.4f}" for e in errors)], {"metric": metric, "gap": gap, "errors": errors}
        )
    return table.end()


def _estimated(chunk: pd.DataFrame, calibrator: Calibrator) -> Performance:
    score = chunk["y_pred_proba"].to_numpy()
    return estimate(score, chunk["y_pred"].to_numpy(bool), calibrator(score))


def by_month(frames: Path | None) -> Iterator[Table]:
    """Estimates against labels of one model that stays: flights of every month, and simulated products that shift."""
    flights = recorded(load_use_case("flights"), frames)
    months = [midnight(date(2013, month, 1)) for month in range(3, 13)] + [midnight(date(2014, 1, 1))]
    yield _periods("Flights of 2013, a model of January and February", flights, months)
    for name, start, n_entities in (("churn", date(2024, 6, 24), 6_000), ("credit", date(2024, 4, 8), 30_000)):
        shift = DriftInjection(kind="covariate", start=start, size=0.8)
        use_case = played(name, SimulationPlan(n_entities=n_entities, drifts=(shift,)))
        year = recorded(use_case, frames, f"{name}_covariate")
        last = midnight(use_case.last_partition or start) - use_case.label.horizon
        moments = [moment for k in range(5) if (moment := midnight(start) + k * PERIOD) <= last]
        yield _periods(f"{name}, simulated, covariate drift of .8 from {start} on", year, moments)


def _periods(title: str, year: Year, moments: list[datetime]) -> Table:
    """A row a period between two moments; the model is of the first."""
    model = year.model(moments[0])
    evaluated, calibrator = _calibrated(year, model)
    header = ("from", "labelled", *(f"{m}: estimated / realised / at training" for m in SHOWN), "days within 95 %")
    table = Table(title, header)
    errors: dict[str, list[tuple[float, float]]] = {name: [] for name in SHOWN}
    held: list[bool] = []
    for start, end in pairwise(moments):
        rows = year.between(start, end)
        score, decided, label = _answers(year, model, rows)
        expected, true = estimate(score, decided, calibrator(score)), realise(score, decided, label)
        for name in SHOWN:
            errors[name].append((_gap(expected, true, name), _gap(evaluated, true, name)))
        within = [
            hit
            for _, day in rows.groupby(rows["requested_at"].dt.floor("D"))
            for hit in _held(year, model, day, calibrator)
        ]
        held += within
        cells = [" / ".join(f"{getattr(p, name):.3f}" for p in (expected, true, evaluated)) for name in SHOWN]
        figures = {"start": start, "errors": {name: found[-1] for name, found in errors.items()}}
        table.add([f"{start:%Y-%m-%d}", f"{len(label):,}", *cells, f"{np.mean(within):.0%}"], figures)
    means = {name: np.mean(pairs, axis=0) for name, pairs in errors.items()}
    said = "; ".join(f"{name} {mean[0]:.4f}, no change {mean[1]:.4f}" for name, mean in means.items())
    return table.end(
        f"Mean absolute error of the estimate: {said}. Daily intervals that hold the truth: {np.mean(held):.0%}."
    )


def _held(year: Year, model: Model, day: pd.DataFrame, calibrator: Calibrator) -> list[bool]:
    """Of each metric that is defined, whether one day's interval holds what its labels say."""
    score, decided, label = _answers(year, model, day)
    true = realise(score, decided, label)
    _, intervals = expected_performance(score, decided, calibrator)
    found = [(getattr(true, name), intervals[name].low, intervals[name].high) for name in SHOWN]
    return [low <= value <= high for value, low, high in found if None not in (value, low, high)]


def _calibrated(year: Year, model: Model) -> tuple[Performance, Calibrator]:
    """Performance at evaluation, and the calibration on those rows, which the model was not fitted on."""
    known = year.known(model.trained_at)
    rows = known[model.trained.part == EVALUATION]
    score, decided, label = _answers(year, model, rows)
    days = pd.factorize(rows.loc[rows["label"].notna(), "requested_at"].dt.floor("D"))[0].astype(np.int64)
    return realise(score, decided, label), fit_calibrator(score, label, days=days)


def _answers(year: Year, model: Model, rows: pd.DataFrame) -> tuple[Array, Flags, Flags]:
    """Scores, decisions and labels of the labelled rows."""
    labelled = rows[rows["label"].notna()]
    score = model.answers(labelled)
    return score, score >= year.use_case.answer.threshold, labelled["label"].to_numpy(bool)


def _gap(one: Performance, other: Performance, name: str) -> float:
    return abs(float(getattr(one, name)) - float(getattr(other, name)))
