"""Flights, March to December 2013: a model that stays, one retrained every month, others retrained on evidence.

Run from the root of the repository: ``python -m benchmarks.retraining [--model NAME]``. Every model is trained on what
was known on its day and answers the requests that follow until the next one is there. Drift is judged every day as the
platform does it, against the frozen reference of the model in force; performance is the log loss of matured requests
against that of the model's evaluation. A failing day retrains unless the last training is younger than the cooldown.
Upstream: the ingest and training stages. Downstream: docs/benchmarks.md.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from shadow_platform.adapters.bundle import encode_frame
from shadow_platform.assets.training.making import REFERENCE_ROWS
from shadow_platform.cli.runs import prepare_dagster_home, run_job
from shadow_platform.contracts.monitoring_verdicts import DriftReference
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.definitions import build_definitions
from shadow_platform.domain import training
from shadow_platform.domain.drift import evaluate_drift
from shadow_platform.partitions import partition_range
from shadow_platform.resources import PlatformResource
from shadow_platform.use_cases import load_use_case

START, END = datetime(2013, 3, 1, tzinfo=UTC), datetime(2013, 12, 31, tzinfo=UTC)
DAY = timedelta(days=1)
COOLDOWN_DAYS = 28
PERFORMANCE_WINDOW = timedelta(days=14)


@dataclass(frozen=True)
class Model:
    """A model in force from ``trained_at`` on."""

    trained_at: datetime
    trained: training.Trained
    reference: pd.DataFrame

    def answers(self, rows: pd.DataFrame) -> np.ndarray:
        """Calibrated probabilities."""
        matrix, _ = encode_frame(self.trained.inputs, rows)
        return training.calibrated(training.raw_scores(self.trained.estimator, matrix), self.trained.calibration)


class Year:
    """The requests of the year, and the models trained on what was known at a time."""

    def __init__(self, use_case: UseCase, frame: pd.DataFrame, family: str) -> None:
        self.use_case, self.frame, self.family = use_case, frame, family
        self._models: dict[datetime, Model] = {}

    def between(self, start: datetime, end: datetime) -> pd.DataFrame:
        """Requests of ``[start, end)``."""
        times = self.frame["requested_at"]
        return self.frame[(times >= start) & (times < end)]

    def known(self, as_of: datetime) -> pd.DataFrame:
        """Requests of the training window whose label was known at a time."""
        rows = self.between(as_of - self.use_case.training.window, as_of)
        return rows[rows["known_at"] <= as_of].reset_index(drop=True)

    def model(self, as_of: datetime) -> Model:
        """The model trained at a time; each is trained once."""
        if as_of not in self._models:
            policy, known = self.use_case.training, self.known(as_of)
            trained = training.train(
                known,
                self.use_case.features,
                self.use_case.model(self.family),
                policy,
                self.use_case.label.horizon,
                self.use_case.answer.threshold,
                as_of,
                policy.seed,
                encode_frame,
            )
            rows = training.reference_rows(trained.part, REFERENCE_ROWS, policy.seed)
            reference = known.iloc[rows].assign(score=trained.scores[rows])
            self._models[as_of] = Model(as_of, trained, reference)
        return self._models[as_of]

    def has_drifted(self, model: Model, now: datetime) -> bool:
        """Whether the window that ends now fails the platform's verdict against the model's reference."""
        policy = self.use_case.drift
        window = self.between(now - policy.window, now)
        score = np.where(window["requested_at"] >= model.trained_at, model.answers(window), np.nan)
        verdict = evaluate_drift(
            self.use_case.name,
            self.use_case.features,
            model.reference,
            window.assign(score=score),
            policy,
            now - policy.window,
            now,
            DriftReference(kind="frozen", fingerprint=model.trained_at.isoformat()),
        )
        return verdict.outcome is Outcome.FAIL

    def has_declined(self, model: Model, now: datetime) -> bool:
        """Whether the matured requests of the last fortnight cost more log loss than the policy allows."""
        matured = now - self.use_case.label.horizon
        rows = self.between(max(model.trained_at, matured - PERFORMANCE_WINDOW), matured)
        if len(rows) < self.use_case.retrain.min_new_labels:
            return False
        realised = log_loss_of(rows, model)
        return bool(realised > model.trained.metrics["log_loss"] + self.use_case.performance.log_loss.floor)


def log_loss_of(rows: pd.DataFrame, model: Model) -> float:
    """Log loss of a model's answers, nats a request."""
    return training.metrics(rows["label"].to_numpy(dtype=bool), model.answers(rows), 0.5)["log_loss"]


def whole_year(family: str) -> Year:
    """Ingest 2013 and join its frame with the platform's own stages."""
    use_case = load_use_case("flights")
    frame = joined_frame(use_case, date(2013, 1, 1), date(2013, 12, 31), datetime(2014, 1, 1, tzinfo=UTC))
    return Year(use_case, frame, family)


def joined_frame(use_case: UseCase, first: date, last: date, as_of: datetime) -> pd.DataFrame:
    """Land the events of some days and join the training frame that was known at ``as_of``."""
    window = timedelta(days=(last - first).days + 1)
    long = replace(use_case, training=replace(use_case.training, window=window))
    platform = PlatformResource()
    prepare_dagster_home(platform.settings)
    definitions, name = build_definitions([long]), use_case.name
    with dg.DagsterInstance.get() as instance:
        run_job(definitions.resolve_job_def(f"{name}_ingest"), instance, tags=partition_range(first, last))
        config = {"ops": {f"{name}__training_frame": {"config": {"as_of": as_of.isoformat()}}}}
        keys = [dg.AssetKey([name, part]) for part in ("feature_definitions", "training_frame")]
        run_job(definitions.resolve_job_def(f"{name}_train"), instance, run_config=config, asset_selection=keys)
        made = instance.get_latest_materialization_event(keys[-1])
    assert made is not None
    assert made.asset_materialization is not None
    fingerprint = str(made.asset_materialization.metadata["fingerprint"].value)
    return platform.lake().read_frame(use_case, fingerprint)


def static(year: Year) -> list[Model]:
    """One model for the whole year."""
    return [year.model(START)]


def monthly(year: Year) -> list[Model]:
    """A new model on the first of every month."""
    return [year.model(datetime(2013, month, 1, tzinfo=UTC)) for month in range(3, 13)]


def on_evidence(year: Year, is_failing: Callable[[Model, datetime], bool], cooldown_days: int) -> list[Model]:
    """A new model when the day fails and the last training is old enough."""
    models, now = [year.model(START)], START + DAY
    while now < END:
        is_due = now - models[-1].trained_at >= timedelta(days=cooldown_days)
        if is_due and is_failing(models[-1], now):
            models.append(year.model(now))
        now += DAY
    return models


def answered(year: Year, models: list[Model]) -> pd.DataFrame:
    """Month, label and answer of each request, answered by the newest model of its time."""
    ends = [model.trained_at for model in models[1:]] + [END]
    parts = []
    for model, end in zip(models, ends, strict=True):
        rows = year.between(model.trained_at, end)
        months, labels = rows["requested_at"].dt.month, rows["label"].astype(bool)
        parts.append(pd.DataFrame({"month": months, "label": labels, "answer": model.answers(rows)}))
    return pd.concat(parts)


def main() -> None:
    """Print the monthly ROC-AUC of every way to retrain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="gradient_boosting")
    family = parser.parse_args().model
    with tempfile.TemporaryDirectory() as home:
        os.environ["SHADOW_HOME"] = home
        year = whole_year(family)
        print(f"{family}, {len(year.frame):,} requests")
        print("| retrained | trainings | AUC | log loss |" + "".join(f" {month} |" for month in range(3, 13)))
        ways = {
            "never": static(year),
            "every month": monthly(year),
            "when drift fails": on_evidence(year, year.has_drifted, COOLDOWN_DAYS),
            "when performance falls": on_evidence(year, year.has_declined, COOLDOWN_DAYS),
        }
        for name, models in ways.items():
            rows = answered(year, models)
            auc = [float(roc_auc_score(month["label"], month["answer"])) for _, month in rows.groupby("month")]
            loss = training.metrics(rows["label"].to_numpy(), rows["answer"].to_numpy(), 0.5)["log_loss"]
            shown = "".join(f" {value:.3f} |" for value in auc)
            print(f"| {name} | {len(models) - 1} | {np.mean(auc):.4f} | {loss:.4f} |{shown}")
            print("  trained " + ", ".join(f"{model.trained_at:%m-%d}" for model in models), flush=True)


if __name__ == "__main__":
    main()
