"""Shares and numbers against limits: chance is no alarm, and what is beyond chance is."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from shadow_platform.contracts.use_case import DataQualityPolicy, Feature, FeatureView
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.quality import (
    Finding,
    RequestCounts,
    count_frame,
    judge_duplicates,
    judge_event_silence,
    judge_features,
    judge_silence,
    judge_views,
    judge_volume,
)
from shadow_platform.domain.quality.chance import share_at_least, share_at_most

POLICY = DataQualityPolicy()
AMOUNT = Feature("amount", "What is paid", low=0)
COUNTRY = Feature("país", "Where", kind="categorical")
MONDAY = date(2024, 3, 4)
NOON = [20] * 24


def count_records(rows: list[dict[str, Any]], features: Sequence[Feature]) -> RequestCounts:
    """Counts of some requests."""
    return count_frame(pd.DataFrame(rows, dtype=object), features)


def found(check: str, n_null: int, n: int, policy: DataQualityPolicy = POLICY, usual_null: int = 0) -> Finding:
    """Finding on one numeric feature of which some requests lack a value."""
    counts = count_records([{"amount": None}] * n_null + [{"amount": 1.0}] * (n - n_null), [AMOUNT])
    usual = count_records([{"amount": None}] * usual_null + [{"amount": 1.0}] * (1_000 - usual_null), [AMOUNT])
    return next(f for f in judge_features([AMOUNT], counts, usual, policy) if f.check == check)


@given(st.integers(1, 3_000), st.data())
def test_bounds_are_those_of_clopper_and_pearson(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))

    assert share_at_least(k, n) == pytest.approx(binomtest(k, n, alternative="greater").proportion_ci(0.99).low)
    assert share_at_most(k, n) == pytest.approx(binomtest(k, n, alternative="less").proportion_ci(0.99).high)


@pytest.mark.parametrize("limit", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("n", [1, 10, 50, 200, 1_000, 20_000])
def test_a_share_at_its_limit_alarms_on_at_most_one_day_in_a_hundred(limit: float, n: int) -> None:
    alarms = sum(binom.pmf(k, n, limit) for k in range(min(n, 2_000) + 1) if share_at_least(k, n) > limit)

    assert alarms <= 0.01 + 1e-9


@pytest.mark.parametrize(("n_null", "n"), [(1, 10), (2, 10), (9, 100), (60, 1_000)])
def test_few_missing_values_among_few_requests_are_no_alarm(n_null: int, n: int) -> None:
    assert found("missing", n_null, n).outcome is Outcome.PASS


@pytest.mark.parametrize(("n_null", "n"), [(6, 10), (20, 100), (100, 1_000)])
def test_many_missing_values_are_an_alarm_at_every_size(n_null: int, n: int) -> None:
    assert found("missing", n_null, n).outcome is Outcome.FAIL


def test_what_the_reference_misses_too_is_no_alarm() -> None:
    finding = found("missing", 400, 1_000, usual_null=390)

    assert finding.outcome is Outcome.PASS
    assert finding.value == pytest.approx(0.01)
    assert "400 of 1000 requests have no amount (40.0%; 39.0% in the champion's reference" in finding.reason


def test_one_foreign_value_is_an_error_by_default() -> None:
    counts = count_records([{"amount": 1.0}] * 999 + [{"amount": "1,00 €"}], [AMOUNT])
    finding = next(f for f in judge_features([AMOUNT], counts, counts, POLICY) if f.check == "foreign")

    assert finding.outcome is Outcome.FAIL
    assert "1 of 1000 values of amount are no number, e.g. '1,00 €'" in finding.reason
    assert (POLICY.severity("foreign"), POLICY.severity("missing")) == ("error", "warn")


def test_no_request_at_all_judges_no_feature() -> None:
    counts = count_records([], [AMOUNT, COUNTRY])
    usual = count_records([{"amount": 1.0, "país": "ES"}], [AMOUNT, COUNTRY])
    findings = [*judge_features([AMOUNT, COUNTRY], counts, usual, POLICY), *judge_duplicates(0, 0, POLICY)]

    assert {finding.outcome for finding in findings} == {Outcome.INSUFFICIENT}
    assert {finding.value for finding in findings} == {None}


def test_a_level_is_unknown_only_beside_a_reference_that_has_levels() -> None:
    counts = count_records([{"país": "España"}] * 50, [COUNTRY])
    known, unknown, empty = ([{"país": value}] * 50 for value in ("España", "Україна", None))
    outcomes = [
        next(f for f in judge_features([COUNTRY], counts, count_records(rows, [COUNTRY]), POLICY) if f.check == check)
        for check, rows in (("new_category", known), ("new_category", unknown), ("new_category", empty))
    ]

    assert [finding.outcome for finding in outcomes] == [Outcome.PASS, Outcome.FAIL, Outcome.INSUFFICIENT]
    assert "e.g. 'España'" in outcomes[1].reason


def test_a_view_that_never_had_rows_is_no_news() -> None:
    view = FeatureView("history", "user_id", timedelta(hours=6), timedelta(days=1), "SELECT 1", "What they did")
    features = [Feature("visits_7d", "Visits", view="history")]
    never, always = ([{"visits_7d": value}] * 300 for value in (None, 1.0))
    judged = [
        judge_views([view], count_records(never, features), count_records(usual, features), POLICY)[0]
        for usual in (never, always)
    ]

    assert [finding.outcome for finding in judged] == [Outcome.PASS, Outcome.FAIL]
    assert judged[1].reason.startswith("300 of 300 requests found no row of history within 6 hours")


@pytest.mark.parametrize(
    ("n", "earlier", "outcome"),
    [
        (1_000, (1_000, 980, 1_020, 990), Outcome.PASS),
        (500, (1_000, 980, 1_020, 990), Outcome.FAIL),
        (500, (1_000, 980), Outcome.FAIL),
        (2_600, (1_000, 980, 1_020, 990), Outcome.FAIL),
        (0, (1_000, 980, 1_020, 990), Outcome.FAIL),
        (1_000, (1_000, 5, 1_020, 990), Outcome.PASS),
        (1, (4, 4, 4, 4), Outcome.PASS),
        (500, (1_000, 0, 0, 0), Outcome.INSUFFICIENT),
        (500, (), Outcome.INSUFFICIENT),
    ],
)
def test_volume_is_held_against_the_same_weekdays(n: int, earlier: tuple[int, ...], outcome: Outcome) -> None:
    assert judge_volume("volume", "", MONDAY, n, earlier, POLICY)[0].outcome is outcome


def test_an_empty_day_is_told_in_words() -> None:
    (finding,) = judge_volume("volume", "", MONDAY, 0, (1_000, 980, 1_020, 990), POLICY)

    assert finding.reason == "0 requests on a Monday; 995 are usual, at least 0.6 and at most 2 times that is expected"


def test_the_longest_silence_counts_the_edges_of_the_day() -> None:
    start, policy = datetime(2024, 3, 4, tzinfo=UTC), DataQualityPolicy(max_silence=timedelta(hours=8))
    hours = {"morning": [9.0, 15.0, 20.0], "evening": [3.0, 9.0, 15.0], "steady": [6.0, 12.0, 18.0], "none": []}
    judged = {
        name: judge_silence([start + timedelta(hours=h) for h in at], start, policy)[0] for name, at in hours.items()
    }

    assert {name: finding.value for name, finding in judged.items()} == {
        **{"morning": 9, "evening": 9},
        **{"steady": 6, "none": 24},
    }
    assert [name for name, finding in judged.items() if finding.outcome is Outcome.FAIL] == [
        "morning",
        "evening",
        "none",
    ]
    assert judge_silence([], start, POLICY) == []


@pytest.mark.parametrize(
    ("hours", "earlier", "outcome"),
    [
        (NOON[:14] + [0] * 10, [NOON] * 4, Outcome.FAIL),
        (NOON[:14] + [0] * 10, [NOON[:14] + [0] * 10] * 4, Outcome.PASS),
        (NOON, [NOON] * 4, Outcome.PASS),
        ([0] * 9 + [1] + [0] * 14, [[0] * 9 + [1] + [0] * 14] * 4, Outcome.PASS),
        ([1] + [0] * 23, [[1] * 3 + [0] * 21] * 4, Outcome.PASS),
        ([0] * 24, [NOON] * 4, Outcome.INSUFFICIENT),
        (NOON[:14] + [0] * 10, [NOON, [0] * 24, [0] * 24, [0] * 24], Outcome.INSUFFICIENT),
    ],
    ids=["stopped", "always stops then", "goes on", "one batch a day", "too rare to tell", "none at all", "one week"],
)
def test_events_that_stop_are_told_from_events_that_are_done(
    hours: list[int], earlier: list[list[int]], outcome: Outcome
) -> None:
    (finding,) = judge_event_silence("visits", MONDAY, hours, earlier, POLICY)

    assert finding.outcome is outcome, finding.reason
