"""Streams of an equal challenger, as they come to a gate that looks every day.

Belongs here: how requests depend on each other, when their labels become known, which are hidden. In every world both
models have the same expected loss. Upstream: shadow_platform_tests.streams. Downstream: the parts.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shadow_platform.domain.gates.clusters import Array
from shadow_platform.domain.gates.sequence import log_loss
from shadow_platform_tests import streams
from shadow_platform_tests.streams import Stream

DAYS, PER_DAY = 60, 100
PAIRS = DAYS * PER_DAY
HORIZON = 7
EXPLORED = 0.1

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Play:
    """What a gate and a naive gate are shown; arrays of shape (streams, pairs) in prediction order.

    Attributes:
        gains: champion's loss minus the challenger's times the weight of the pair, as the gate counts it.
        naive: the same without weights, as one who knows nothing of hidden labels counts it.
        known_on: day on which the label becomes known; ``DAYS`` and later: never.
        horizon: days that a request matures before the gate looks at it; a naive gate does not wait.
        subject: subject of each pair; ``None``: they do not come back.
        is_hidden: pairs whose label is hidden.
    """

    gains: Array
    naive: Array
    known_on: Numbers
    horizon: int = 0
    subject: Numbers | None = None
    is_hidden: Flags | None = None


def gains(stream: Stream) -> Array:
    """Champion's log loss minus the challenger's."""
    return log_loss(stream.champion, stream.label) - log_loss(stream.challenger, stream.label)


def day_of(shape: tuple[int, ...]) -> Numbers:
    """Day of each request."""
    return np.broadcast_to(np.arange(shape[1]) // PER_DAY, shape).astype(np.int64)


def at_once(values: Array, subject: Numbers | None = None) -> Play:
    """Labels that are known on the day of the request."""
    return Play(values, values, day_of(values.shape), subject=subject)


def independent(rng: np.random.Generator, n: int) -> Play:
    """Requests that have nothing in common."""
    return at_once(gains(streams.equal_models(rng, n, PAIRS)))


def returning(rng: np.random.Generator, n: int) -> Play:
    """600 subjects that come back about ten times."""
    stream, subject = streams.models_of_returning_subjects(rng, n, PAIRS)
    return at_once(gains(stream), subject)


def days_alike(rng: np.random.Generator, n: int) -> Play:
    """Requests of an hour, and of neighbouring hours of a day, are alike."""
    return at_once(streams.clustered_differences(rng, n, DAYS, hours=10, per_hour=PER_DAY // 10))


def delayed(rng: np.random.Generator, n: int) -> Play:
    """Positives become known after a day on average, negatives after a week; the challenger answers higher."""
    stream = streams.equal_models(rng, n, PAIRS)
    higher = Stream(stream.label, stream.champion * 0.8, np.clip(stream.champion * 1.185, 0, 0.99))
    values = gains(higher)
    values -= values.mean()
    wait = np.where(stream.label > 0, np.minimum(rng.geometric(0.5, values.shape) - 1, HORIZON), HORIZON)
    return Play(values, values, day_of(values.shape) + wait.astype(np.int64), horizon=HORIZON)


def hidden(rng: np.random.Generator, n: int) -> Play:
    """The champion's positive decisions hide their label but for a tenth; the challenger is better where it is seen."""
    stream = streams.good_on_what_is_seen(rng, n, PAIRS)
    values, positive = gains(stream), stream.champion >= 0.5
    is_hidden = positive & (rng.random(positive.shape) >= EXPLORED)
    weight = np.where(is_hidden, 0.0, np.where(positive, 1 / EXPLORED, 1.0))
    known_on = np.where(is_hidden, DAYS, day_of(values.shape))
    return Play(weight * values, values, known_on, is_hidden=is_hidden)


def moving_rate(rng: np.random.Generator, n: int) -> Play:
    """The share of positives wanders between a few and seventy percent."""
    return at_once(gains(streams.models_of_moving_rate(rng, n, DAYS, PER_DAY)))


WORLDS: dict[str, Callable[[np.random.Generator, int], Play]] = {
    "independent requests": independent,
    "subjects come back": returning,
    "requests of a day alike": days_alike,
    "delayed labels, positives first": delayed,
    "labels hidden by decisions": hidden,
    "moving base rate": moving_rate,
}
