"""How hard the task is: champion and challenger, as the platform trains them, against the best score there can be."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

import pandas as pd
from sklearn.metrics import roc_auc_score

from shadow_platform.adapters.bundle import encode_frame
from shadow_platform.domain import training
from shadow_platform.testing.tables import Tables, labels_of, requests_of, run
from shadow_platform.use_cases.fraud.simulator import recorded
from shadow_platform_tests.use_cases.fraud.payments import FRAUD

KEY = ["subject_id", "requested_at"]


def _tables() -> Tables:
    """Events of the whole world; the contract has shown that their rows pass the events stage."""
    assert FRAUD.simulation is not None
    frames = recorded(FRAUD.simulation.default).events
    times = ("event_at", "received_at")
    return {
        name: frame.drop_duplicates("event_id").assign(**{time: frame[time].dt.tz_localize("UTC") for time in times})
        for name, frame in frames.items()
    }


@lru_cache(maxsize=1)
def _frame() -> tuple[pd.DataFrame, datetime]:
    """The training frame of the demo, its features joined as of each request."""
    assert FRAUD.demo is not None
    as_of = datetime.combine(FRAUD.demo.serve_from, datetime.min.time(), tzinfo=UTC)
    parts = training.windows(FRAUD.training, FRAUD.label.horizon, as_of)
    tables = _tables()
    requests = requests_of(FRAUD, tables, pd.Timestamp(parts.fit.start), pd.Timestamp(parts.evaluation.end))
    seen = requests
    for view in FRAUD.views:
        start, end = pd.Timestamp(parts.fit.start - view.ttl), pd.Timestamp(parts.evaluation.end)
        seen = pd.merge_asof(
            seen,
            run(view.sql, tables, start=start, end=end).drop(columns="created_at"),
            left_on="requested_at",
            right_on="event_at",
            by=view.entity,
            tolerance=view.ttl,
        ).drop(columns="event_at")
    labels = labels_of(FRAUD, tables, requests, pd.Timestamp(as_of))
    return training.assemble(requests, seen, labels, FRAUD.features, as_of, derivations=FRAUD.derivations), as_of


def _trained(model: str) -> tuple[float, pd.DataFrame]:
    """ROC-AUC on the evaluation part, and that part's keys and labels."""
    frame, as_of = _frame()
    trained = training.train(
        frame,
        FRAUD.features,
        FRAUD.model(model),
        FRAUD.training,
        FRAUD.label.horizon,
        FRAUD.answer.threshold,
        as_of,
        FRAUD.training.seed,
        encode_frame,
    )
    return trained.metrics["roc_auc"], frame.loc[trained.part == training.EVALUATION, [*KEY, "label"]]


def test_the_challenger_beats_the_champion_and_both_stay_below_the_ceiling() -> None:
    champion, keys = _trained("logistic_regression")
    challenger, _ = _trained("gradient_boosting")
    assert FRAUD.simulation is not None
    days = keys["requested_at"].dt.date
    truth = FRAUD.simulation.simulator().bayes(days.min(), days.max() + timedelta(days=1))
    known = keys.merge(truth, on=KEY, suffixes=("", "_true"), validate="1:1")
    assert (known["label"] == known["label_true"]).all()
    ceiling = roc_auc_score(known["label"], known["probability"])
    assert 0.70 < champion < challenger - 0.03
    assert challenger < ceiling - 0.015
    assert 0.95 < ceiling < 0.999
