"""Subjects that come back do not promote an equal challenger, and the variance is that of its definition."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.domain.gates.clusters import Array, Clusters, Numbers, running_mean
from shadow_platform.domain.gates.sequence import confidence_sequence, log_loss
from shadow_platform_tests.streams import models_of_returning_subjects


def group_variance(residual: Array, groups: list[object]) -> float:
    """Squared sums of residuals by group, times k / (k - 1)."""
    sums = pd.Series(residual).groupby(pd.Series(groups, dtype=object).map(repr).to_numpy()).sum()
    k = len(sums)
    return float((sums**2).sum()) * (k / (k - 1) if k > 1 else 1.0)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.floats(-3, 3), st.integers(0, 5), st.booleans()), min_size=4, max_size=50),
)
def test_the_variance_of_days_and_subjects_is_that_of_its_definition(rows: list[tuple[float, int, bool]]) -> None:
    values = np.array([value for value, _, _ in rows])
    day = np.cumsum([is_next for _, _, is_next in rows])
    number, subject = pd.factorize(day)[0], pd.factorize(pd.Series([name for _, name, _ in rows]))[0]
    running = running_mean(values, Clusters(number.astype(np.int64), subject.astype(np.int64)))

    for k in range(1, int(number.max()) + 2):
        part = number < k
        residual = values[part] - values[part].mean()
        days, subjects = list(number[part]), list(subject[part])
        by_day, by_subject = group_variance(residual, days), group_variance(residual, subjects)
        by_cell = group_variance(residual, list(zip(days, subjects, strict=True)))
        groups = min(len(set(days)), len(set(subjects)))
        expected = max(by_day + by_subject - by_cell, by_day, by_subject) if groups > 1 else np.inf
        assert running.groups[k - 1] == groups
        np.testing.assert_allclose(running.variance[k - 1], expected, rtol=1e-6, atol=1e-8)


def played(seed: int, streams: int) -> tuple[Array, Numbers, Numbers]:
    stream, subject = models_of_returning_subjects(np.random.default_rng(seed), streams, 3_000)
    gains = log_loss(stream.champion, stream.label) - log_loss(stream.challenger, stream.label)
    return gains, subject, np.arange(3_000) // 100


def test_subjects_that_come_back_promote_an_equal_challenger_by_luck_unless_they_are_clusters() -> None:
    gains, subject, day = played(1, 150)

    def share_promoted(with_subjects: bool) -> float:
        ever = []
        for row, names in zip(gains, subject, strict=True):
            clusters = Clusters(day, names if with_subjects else None)
            ever.append((confidence_sequence(row, clusters).lower[6:] > 0).any())
        return float(np.mean(ever))

    assert share_promoted(with_subjects=False) > 0.06
    assert share_promoted(with_subjects=True) <= 0.05


def test_subjects_that_never_come_back_widen_nothing_much() -> None:
    gains, _, day = played(2, 1)
    alone = confidence_sequence(gains[0], Clusters(day))
    subjects = confidence_sequence(gains[0], Clusters(day, np.arange(3_000)))

    assert 1.0 <= (subjects.upper - subjects.lower)[-1] / (alone.upper - alone.lower)[-1] < 1.35


def test_one_subject_alone_bounds_nothing() -> None:
    sequence = confidence_sequence(np.arange(30.0), Clusters(np.arange(30) // 3, np.zeros(30, dtype=np.int64)))

    assert np.isinf(sequence.lower).all()


def test_taking_some_rows_numbers_their_clusters_anew() -> None:
    part = Clusters(np.array([0, 0, 1, 2]), np.array([0, 1, 2, 1])).take(np.array([1, 3]))

    assert part.number.tolist() == [0, 1]
    assert part.subject is not None
    assert part.subject.tolist() == [0, 0]
