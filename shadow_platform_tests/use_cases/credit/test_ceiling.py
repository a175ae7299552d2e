"""How hard the task is: champion and challenger, as the platform trains them, against the best score there can be."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from shadow_platform.adapters.bundle import encode_frame
from shadow_platform.domain import training
from shadow_platform.testing.tables import Tables, accepted, labels_of, received, requests_of, run
from shadow_platform_tests.use_cases.credit.loans import CREDIT

LABEL_KEY = ["subject_id", "requested_at"]


@lru_cache(maxsize=1)
def _frame() -> tuple[pd.DataFrame, datetime]:
    """The training frame of the demo, its features joined as of each request."""
    assert CREDIT.demo is not None
    as_of = datetime.combine(CREDIT.demo.serve_from, datetime.min.time(), tzinfo=UTC)
    parts = training.windows(CREDIT.training, CREDIT.label.horizon, as_of)
    first = CREDIT.first_partition
    rows = received(
        CREDIT.source(), CREDIT.events, [first + timedelta(days=n) for n in range((as_of.date() - first).days)]
    )
    tables: Tables = {kind.name: accepted(kind, rows[kind.name]) for kind in CREDIT.events}
    requests = requests_of(CREDIT, tables, pd.Timestamp(parts.fit.start), pd.Timestamp(parts.evaluation.end))
    (view,) = CREDIT.views
    reports = run(view.sql, tables, start=pd.Timestamp(first, tz="UTC"), end=pd.Timestamp(as_of))
    seen = pd.merge_asof(
        requests,
        reports.drop(columns="created_at"),
        left_on="requested_at",
        right_on="event_at",
        by=view.entity,
        tolerance=view.ttl,
    )
    labels = labels_of(CREDIT, tables, requests, pd.Timestamp(as_of))
    return training.assemble(requests, seen, labels, CREDIT.features, as_of), as_of


@lru_cache(maxsize=2)
def _evaluated(model: str) -> tuple[float, pd.DataFrame]:
    """ROC-AUC on the evaluation part, and the keys of that part."""
    frame, as_of = _frame()
    trained = training.train(
        frame,
        CREDIT.features,
        CREDIT.model(model),
        CREDIT.training,
        CREDIT.label.horizon,
        CREDIT.answer.threshold,
        as_of,
        CREDIT.training.seed,
        encode_frame,
    )
    return trained.metrics["roc_auc"], frame.loc[trained.part == training.EVALUATION, [*LABEL_KEY, "label"]]


def _truth(keys: pd.DataFrame) -> pd.DataFrame:
    assert CREDIT.simulation is not None
    days = keys["requested_at"].dt.date
    truth = CREDIT.simulation.simulator().bayes(days.min(), days.max() + timedelta(days=1))
    return keys.merge(truth, on=LABEL_KEY, suffixes=("", "_true"), validate="1:1")


def test_the_challenger_beats_the_champion_and_both_stay_below_the_ceiling() -> None:
    champion, keys = _evaluated("logistic_regression")
    challenger, _ = _evaluated("gradient_boosting")
    ceiling = roc_auc_score(keys["label"], _truth(keys)["probability"])
    assert 0.74 < champion < challenger - 0.01
    assert challenger < ceiling - 0.02
    assert ceiling < 0.85


def test_the_labels_of_training_are_true() -> None:
    _, keys = _evaluated("logistic_regression")
    truth = _truth(keys)
    assert (truth["label"] == truth["label_true"]).all()


def test_the_labelled_default_less_often_than_all_who_apply() -> None:
    """What hidden labels cost: a rate over the labelled alone is too low by a third."""
    frame, _ = _frame()
    assert CREDIT.simulation is not None
    days = frame["requested_at"].dt.date
    everyone = CREDIT.simulation.simulator().bayes(days.min(), days.max())
    assert frame["label"].mean() < 0.75 * everyone["label"].mean()
    assert everyone["label"].mean() == pytest.approx(everyone["probability"].mean(), abs=0.01)
    assert np.isclose(frame["label"].mean(), 0.11, atol=0.015)
