"""Simulated streams of paired answers with known truth, for the statistics of the gate and its benchmark.

Every function takes a generator and returns arrays with one row a stream, in prediction order.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHARED_NOISE = 0.3
"""Standard deviation of the logit error that champion and challenger have in common or each."""
TWO_PERCENT = 0.357
"""Extra logit error of a champion whose log loss is 2 % above its challenger's."""
FOUR_PERCENT = 0.51


@dataclass(frozen=True, slots=True)
class Stream:
    """Labels (0 or 1) and both models' probabilities, each of shape (streams, pairs)."""

    label: Array
    champion: Array
    challenger: Array


def sigmoid(logit: Array) -> Array:
    """Probability of a logit."""
    return np.asarray(1 / (1 + np.exp(-logit)), dtype=np.float64)


def equal_models(rng: np.random.Generator, streams: int, pairs: int) -> Stream:
    """Two models with different errors and the same expected loss."""
    shape = (streams, pairs)
    logit = rng.normal(-1.0, 1.5, shape)
    champion = sigmoid(logit + SHARED_NOISE * rng.standard_normal(shape))
    challenger = sigmoid(logit + SHARED_NOISE * rng.standard_normal(shape))
    return Stream((rng.random(shape) < sigmoid(logit)).astype(np.float64), champion, challenger)


def better_challenger(rng: np.random.Generator, streams: int, pairs: int, extra: float = TWO_PERCENT) -> Stream:
    """A champion that errs as its challenger does, and ``extra`` on top."""
    shape = (streams, pairs)
    logit = rng.normal(-1.0, 1.5, shape)
    answer = logit + SHARED_NOISE * rng.standard_normal(shape)
    champion = sigmoid(answer + extra * rng.standard_normal(shape))
    return Stream((rng.random(shape) < sigmoid(logit)).astype(np.float64), champion, sigmoid(answer))


def clustered_differences(
    rng: np.random.Generator, streams: int, days: int, hours: int = 18, per_hour: int = 50
) -> Array:
    """Loss differences of two equal models when requests of an hour, and neighbouring hours of a day, are alike.

    Intraclass correlation .029 within an hour, autocorrelation .4 of the hourly effect within a day: the variance of
    the mean is about 2.4 (hour) and 4 (day) times that of independent requests, as it was for two models on 28,834
    flights of March 2013 (2.4 and 3.7).
    """
    effect = np.zeros((streams, days, hours))
    effect[:, :, 0] = rng.standard_normal((streams, days))
    for hour in range(1, hours):
        effect[:, :, hour] = 0.4 * effect[:, :, hour - 1] + np.sqrt(1 - 0.16) * rng.standard_normal((streams, days))
    own = rng.standard_normal((streams, days, hours, per_hour))
    return np.asarray((0.164 * (np.sqrt(0.971) * own + np.sqrt(0.029) * effect[..., None])).reshape(streams, -1))


def good_on_what_is_seen(rng: np.random.Generator, streams: int, pairs: int) -> Stream:
    """Two models of equal loss: the champion is the better one where it decides positively, and bad elsewhere.

    The risks mirror each other around one half, so a model that errs on one side loses as much as one on the other.
    """
    shape = (streams, pairs)
    logit = rng.choice([-1.0, 1.0], shape) + 0.5 * rng.standard_normal(shape)
    slight, great = 0.1 * rng.standard_normal(shape), 0.9 * rng.standard_normal(shape)
    champion = sigmoid(logit + np.where(logit > 0, slight, great))
    challenger = sigmoid(logit + np.where(logit > 0, great, slight))
    return Stream((rng.random(shape) < sigmoid(logit)).astype(np.float64), champion, challenger)


def models_of_moving_rate(rng: np.random.Generator, streams: int, days: int, per_day: int) -> Stream:
    """Two models of equal expected loss while the base rate wanders between a few and seventy percent."""
    level = np.zeros((streams, days))
    for day in range(1, days):
        level[:, day] = 0.9 * level[:, day - 1] + 0.5 * rng.standard_normal(streams)
    logit = np.repeat(level, per_day, axis=1) + rng.normal(-1.0, 1.5, (streams, days * per_day))
    champion, challenger = (sigmoid(logit + SHARED_NOISE * rng.standard_normal(logit.shape)) for _ in range(2))
    return Stream((rng.random(logit.shape) < sigmoid(logit)).astype(np.float64), champion, challenger)


def models_of_returning_subjects(
    rng: np.random.Generator, streams: int, pairs: int, subjects: int = 600
) -> tuple[Stream, NDArray[np.int64]]:
    """Two models of equal expected loss on subjects that come back, and the subject of each request.

    A subject keeps its risk, both models their error about it, and every second request has the outcome of its
    subject: the errors of a subject's requests are alike on all days.
    """
    subject = rng.integers(subjects, size=(streams, pairs))

    def kept(values: Array) -> Array:
        return np.take_along_axis(values, subject, axis=1)

    logit = kept(rng.normal(-1.0, 1.5, (streams, subjects)))
    champion, challenger = (sigmoid(logit + kept(rng.normal(0, SHARED_NOISE, (streams, subjects)))) for _ in range(2))
    own, shared = rng.random((streams, pairs)), kept(rng.random((streams, subjects)))
    chance = np.where(rng.random((streams, pairs)) < 0.5, shared, own)
    return Stream((chance < sigmoid(logit)).astype(np.float64), champion, challenger), subject
