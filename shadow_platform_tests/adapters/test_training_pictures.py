"""Guarantees of the pictures of a training: all of them, alike in bytes for alike trainings, whatever the rows hold."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from shadow_platform.adapters.pictures.training import MAX_FEATURES, MAX_SEGMENTS, TrainingPictures, training_plots
from shadow_platform.contracts.model_card import FeatureImportance, MetricEstimate
from shadow_platform.contracts.use_case import TrainingPolicy
from shadow_platform.domain import training
from shadow_platform_tests.domain.training.judged import days_that_differ

ALL = {"reliability", "roc", "precision_recall", "gain", "scores", "importance", "segments"}
POLICY = TrainingPolicy(n_resamples=20)


def _importances(n):
    estimates = [MetricEstimate(value=value, low=value - 0.01, high=value + 0.02) for value in np.linspace(0.1, 0, n)]
    return tuple(FeatureImportance(feature=f"x{i}", log_loss_increase=one) for i, one in enumerate(estimates))


def _pictures(labels, p, day, levels=None, importances=()):
    frame = pd.DataFrame({"plan": [] if levels is None else levels})
    features = [] if levels is None else ["plan"]
    return TrainingPictures(
        title="shop, trees",
        labels=labels,
        probabilities=p,
        threshold=0.5,
        reliability=training.reliability(labels, p),
        roc=training.roc(labels, p),
        precision_recall=training.precision_recall(labels, p),
        gain=training.gain(labels, p),
        segments=training.segment_metrics(labels, p, 0.5, frame, features, day, POLICY, seed=0),
        importances=importances,
    )


def _judged(n_days=7):
    return days_that_differ(np.random.default_rng(0), n_days, 200)


def _height(png):
    return imread(io.BytesIO(png)).shape[0]


def test_every_picture_of_a_training_is_drawn_and_none_twice():
    labels, p, day = _judged()
    drawn = training_plots(_pictures(labels, p, day, np.where(day % 2, "basic", "gold"), _importances(3)))
    assert set(drawn) == ALL
    assert len(set(drawn.values())) == len(ALL)
    assert all(np.ptp(imread(io.BytesIO(png))) > 0.5 for png in drawn.values())


def test_pictures_without_anything_to_show_are_left_out():
    assert set(training_plots(_pictures(*_judged()))) == ALL - {"importance", "segments"}


def test_same_training_gives_the_same_bytes_without_time_or_program():
    labels, p, day = _judged()
    levels = np.where(day % 2, "basic", "gold")
    first = training_plots(_pictures(labels, p, day, levels, _importances(3)))
    assert training_plots(_pictures(labels, p, day, levels, _importances(3))) == first
    assert not any(chunk in png for png in first.values() for chunk in (b"tEXt", b"tIME", b"zTXt", b"iTXt"))


# As a matplotlibrc, a style or a notebook would have set them.
SETTINGS_OF_A_PERSON: Any = {
    "lines.linewidth": 5,
    "savefig.dpi": 200,
    "font.size": 17,
    "axes.facecolor": "pink",
    "legend.loc": "center",
}


def test_settings_of_whoever_draws_enter_no_picture_and_are_as_they_were_afterwards():
    labels, p, day = _judged()
    as_delivered = training_plots(_pictures(labels, p, day))
    with matplotlib.rc_context(SETTINGS_OF_A_PERSON):
        assert training_plots(_pictures(labels, p, day)) == as_delivered
        assert {name: matplotlib.rcParams[name] for name in SETTINGS_OF_A_PERSON} == SETTINGS_OF_A_PERSON


def test_threads_that_draw_at_once_keep_settings_out_of_each_others_pictures():
    labels, p, day = _judged()
    as_delivered = training_plots(_pictures(labels, p, day))
    ready = threading.Barrier(3)

    def drawn(_):
        ready.wait()
        return training_plots(_pictures(labels, p, day))

    with matplotlib.rc_context(SETTINGS_OF_A_PERSON), ThreadPoolExecutor(3) as pool:
        assert list(pool.map(drawn, range(3))) == [as_delivered] * 3
        assert matplotlib.rcParams["lines.linewidth"] == SETTINGS_OF_A_PERSON["lines.linewidth"]


@pytest.mark.parametrize("name", ["reliability", "roc", "precision_recall", "gain", "scores"])
def test_another_model_gives_another_picture(name):
    labels, p, day = _judged()
    assert (
        training_plots(_pictures(labels, p, day))[name] != training_plots(_pictures(labels, np.roll(p, 1), day))[name]
    )


@pytest.mark.parametrize(
    ("labels", "p"),
    [
        ([True], [1.0]),
        ([False], [0.0]),
        ([True, True], [0.2, 0.9]),
        ([False, False, True], [0.5, 0.5, 0.5]),
        ([False] * 500 + [True], [0.0] * 501),
    ],
)
def test_rows_that_say_little_are_drawn_without_a_warning(labels, p):
    p = np.array(p)
    drawn = training_plots(_pictures(np.array(labels), p, np.zeros(len(p)), np.full(len(p), None), _importances(1)))
    assert set(drawn) == ALL


def test_names_that_look_like_formulas_are_shown_as_they_are():
    labels, p, day = _judged()
    levels = np.where(day % 2, r"$\frac{1$", "_100_$" + "x" * 80)
    assert "segments" in training_plots(_pictures(labels, p, day, levels))


def test_pictures_of_many_rows_stop_growing():
    labels, p, day = days_that_differ(np.random.default_rng(0), 7, 1_000)
    few = np.array([f"level {i % MAX_SEGMENTS:02d}" for i in range(len(p))])
    many = np.array([f"level {i % (MAX_SEGMENTS + 12):02d}" for i in range(len(p))])
    with_few = training_plots(_pictures(labels, p, day, few, _importances(MAX_FEATURES)))
    with_many = training_plots(_pictures(labels, p, day, many, _importances(MAX_FEATURES + 50)))
    for name in ("segments", "importance"):
        assert _height(with_many[name]) == _height(with_few[name])
        assert with_many[name] != with_few[name]
