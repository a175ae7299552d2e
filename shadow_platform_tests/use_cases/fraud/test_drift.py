"""Drift on demand: what each kind moves, what it leaves as it was, and nothing at all before its start."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest

from shadow_platform.contracts.simulation import DriftKind
from shadow_platform_tests.use_cases.fraud.payments import DRIFT_START, world

START = np.datetime64(DRIFT_START, "us")
KINDS = get_args(DriftKind)


def _after(kind: DriftKind | None) -> pd.DataFrame:
    frame = world(kind).events["transactions"]
    return frame[frame["event_at"] >= START]


def _truth_after(kind: DriftKind | None) -> pd.DataFrame:
    truth = world(kind).truth
    return truth[truth["requested_at"] >= pd.Timestamp(DRIFT_START, tz="UTC") + pd.Timedelta(days=1)]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_changes_before_the_start(kind: DriftKind) -> None:
    for name, calm in world().events.items():
        moved = world(kind).events[name]
        pd.testing.assert_frame_equal(
            calm[calm["received_at"] < START].reset_index(drop=True),
            moved[moved["received_at"] < START].reset_index(drop=True),
        )


def test_covariate_drift_moves_amounts_countries_and_devices_and_not_how_frequent_fraud_is() -> None:
    calm, moved = _after(None), _after("covariate")
    assert moved["transaction_amount"].median() > 1.6 * calm["transaction_amount"].median()
    assert (moved["device"] == "web").mean() > (calm["device"] == "web").mean() + 0.2
    assert _countries(moved) - 1 > 3 * (_countries(calm) - 1)
    assert _truth_after("covariate")["probability"].mean() == pytest.approx(
        _truth_after(None)["probability"].mean(), rel=0.02
    )


def _countries(payments: pd.DataFrame) -> float:
    """Mean number of countries a user pays in within a week."""
    weekly = payments.groupby(["user_id", payments["event_at"].dt.to_period("W")])["country"]
    return float(weekly.nunique().mean())


def test_label_drift_brings_more_thieves_who_behave_as_before() -> None:
    calm, moved = _truth_after(None), _truth_after("label")
    assert 2.5 < moved["label"].mean() / calm["label"].mean() < 4.5
    assert moved["label"].mean() == pytest.approx(moved["probability"].mean(), rel=0.1)
    payments = _after(None)["transaction_amount"], _after("label")["transaction_amount"]
    assert payments[1].median() == pytest.approx(payments[0].median(), rel=0.02)
    stolen = [_stolen(kind)["transaction_amount"].median() for kind in (None, "label")]
    assert stolen[1] == pytest.approx(stolen[0], rel=0.2)


def _stolen(kind: DriftKind | None) -> pd.DataFrame:
    payments = _after(kind).drop_duplicates("event_id")
    keys = _truth_after(kind).query("label")
    return payments.merge(
        keys.assign(received_at=keys["requested_at"].dt.tz_localize(None)),
        left_on=["user_id", "received_at"],
        right_on=["subject_id", "received_at"],
    )


def test_concept_drift_moves_no_payment_and_turns_bold_thieves_into_modest_ones() -> None:
    pd.testing.assert_frame_equal(_after(None), _after("concept"))
    calm, moved = _truth_after(None), _truth_after("concept")
    assert moved["label"].mean() == pytest.approx(calm["label"].mean(), rel=0.25)
    episodes = calm["probability"].to_numpy() > 0.01
    assert np.corrcoef(calm["probability"][episodes], moved["probability"][episodes])[0, 1] < -0.95
    assert _stolen("concept")["transaction_amount"].mean() < 0.8 * _stolen(None)["transaction_amount"].mean()


def test_quality_drift_moves_the_record_and_not_what_happened() -> None:
    calm, moved = _after(None), _after("quality")
    pd.testing.assert_frame_equal(_truth_after(None), _truth_after("quality"))
    assert list(calm["event_id"]) == list(moved["event_id"])
    assert set(moved["device"]) == {"android_app", "ios", "web", "terminal"}
    assert ((calm["device"] == "android") == (moved["device"] == "android_app")).all()
    assert moved["country"].isna().mean() == pytest.approx(0.3, abs=0.02)
    factor = moved["transaction_amount"].to_numpy() / calm["transaction_amount"].to_numpy()
    is_web = (calm["device"] == "web").to_numpy()
    assert (np.isclose(factor, 100) & is_web).sum() / is_web.sum() == pytest.approx(0.5, abs=0.03)
    assert np.isclose(factor[~is_web], 1).all()
