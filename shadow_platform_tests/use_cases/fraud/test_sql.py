"""The SQL of views, requests and labels against plain Python, and at the instants where it changes."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.testing.tables import Tables, before, labels_of, requests_of
from shadow_platform_tests.use_cases.fraud.payments import (
    DAY,
    FRAUD,
    HOUR,
    INSTANT,
    MIDNIGHT,
    NOON,
    USER,
    WEEK,
    chargeback,
    payment,
    row_at,
    rows_of,
    tables,
)

WINDOWS = {"1h": HOUR, "24h": DAY, "7d": WEEK}
HORIZON = pd.Timedelta(FRAUD.label.horizon)
VELOCITY = [feature.name for feature in FRAUD.view_features("user_velocity")]


@st.composite
def _payments(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Payments of two users over nine days, many on the borders of windows, some at one instant."""
    borders = st.sampled_from([0, 3_600, 86_400, 90_000, 604_800])
    seconds = st.one_of(borders, st.integers(0, 777_600), st.integers(0, 900))
    moments = draw(st.lists(st.tuples(seconds, st.sampled_from([0, 1, -1])), min_size=1, max_size=14))
    return [
        payment(
            MIDNIGHT + pd.Timedelta(seconds=at) + offset * INSTANT,
            number,
            user_id=draw(st.sampled_from([USER, "user-00007"])),
            transaction_amount=draw(st.integers(50, 100_000)) / 100,
            country=draw(st.sampled_from(["US", "GB", None])),
            device=draw(st.sampled_from(["ios", "web"])),
        )
        for number, (at, offset) in enumerate(moments)
    ]


def _velocity(events: list[dict[str, Any]], user: str, stamp: pd.Timestamp) -> dict[str, float]:
    """What the view must say of a user at a stamp."""
    known = [row for row in events if row["user_id"] == user and row["received_at"] < stamp]
    known.sort(key=lambda row: (row["received_at"], row["event_id"]))
    values: dict[str, float] = {}
    for name, window in WINDOWS.items():
        inside = [row for row in known if row["received_at"] >= stamp - window]
        values[f"payments_{name}"] = len(inside)
        values[f"amount_sum_{name}_usd"] = sum(row["transaction_amount"] for row in inside)
        values[f"countries_{name}"] = len({row["country"] for row in inside} - {None})
        values[f"devices_{name}"] = len({row["device"] for row in inside})
    week = [row for row in known if row["received_at"] >= stamp - WEEK]
    values["small_payments_7d"] = sum(row["transaction_amount"] < 5 for row in week)
    gap = known[-1]["received_at"] - known[-2]["received_at"] if week and len(known) > 1 else WEEK
    values["seconds_between_payments"] = min(gap, WEEK).total_seconds()
    return values


@settings(max_examples=25, deadline=None)
@given(_payments())
def test_velocity_is_what_was_received_in_each_window_before_the_stamp(events: list[dict[str, Any]]) -> None:
    start, end = MIDNIGHT - DAY, MIDNIGHT + 9 * DAY
    rows = rows_of("user_velocity", tables(events), start, end)
    changed = {
        (row["user_id"], row["received_at"] + passed + INSTANT)
        for row in events
        for passed in (0 * DAY, HOUR, DAY, WEEK)
    }
    assert set(rows.index) == {(user, stamp) for user, stamp in changed if start < stamp <= end}
    for user, stamp in rows.index:
        expected = _velocity(events, user, stamp)
        assert rows.loc[(user, stamp), VELOCITY].to_dict() == pytest.approx(expected, abs=1e-9)


def test_a_payment_is_in_the_row_stamped_after_it_and_never_in_one_that_its_own_request_reads() -> None:
    at_once = NOON + INSTANT
    events = tables([payment(NOON), payment(at_once, 1)])
    rows = rows_of("user_velocity", events, NOON - DAY, at_once + INSTANT)
    assert list(rows.index) == [(USER, at_once), (USER, at_once + INSTANT)]
    assert list(rows["payments_1h"]) == [1, 2]


@pytest.mark.parametrize(("name", "window"), WINDOWS.items())
def test_a_payment_leaves_a_window_with_a_row_of_its_own(name: str, window: pd.Timedelta) -> None:
    events = tables([payment(NOON)])
    last, gone = NOON + window, NOON + window + INSTANT
    assert row_at("user_velocity", events, last) is None
    row = row_at("user_velocity", events, gone)
    assert row is not None
    assert row[f"payments_{name}"] == row[f"amount_sum_{name}_usd"] == row[f"countries_{name}"] == 0
    with_another = tables([payment(NOON), payment(last - INSTANT, 1)])
    row = row_at("user_velocity", with_another, last)
    assert row is not None
    assert row[f"payments_{name}"] == 2


def test_payments_and_leavings_at_one_instant_make_one_row() -> None:
    events = tables([payment(NOON), payment(NOON + HOUR, 1, country="GB"), payment(NOON + HOUR, 2, country="DE")])
    rows = rows_of("user_velocity", events, NOON + INSTANT, NOON + HOUR + INSTANT)
    assert list(rows.index) == [(USER, NOON + HOUR + INSTANT)]
    row = rows.iloc[0]
    assert (row["payments_1h"], row["payments_24h"], row["countries_1h"]) == (2, 3, 2)
    assert row["seconds_between_payments"] == 0


def test_a_payment_that_comes_late_counts_from_its_receipt() -> None:
    late = payment(NOON, event_at=NOON - 6 * HOUR)
    rows = rows_of("user_velocity", tables([late]), NOON - DAY, NOON + INSTANT)
    assert list(rows.index) == [(USER, NOON + INSTANT)]
    assert rows["payments_1h"].iloc[0] == 1


def test_a_payment_of_unknown_country_counts_as_a_payment_in_none() -> None:
    row = row_at("user_velocity", tables([payment(NOON, country=None)]), NOON + INSTANT)
    assert row is not None
    assert (row["payments_24h"], row["countries_24h"], row["devices_24h"]) == (1, 0, 1)


def test_habits_are_those_of_30_days_that_end_at_midnight() -> None:
    first, too_early = MIDNIGHT - 30 * DAY, MIDNIGHT - 30 * DAY - INSTANT
    events = [
        payment(first, 1, transaction_amount=10.0, country="GB"),
        payment(too_early, 2, transaction_amount=900.0, country="FR"),
        payment(MIDNIGHT - INSTANT, 3, transaction_amount=40.0, country=None, device="web"),
        payment(MIDNIGHT, 4, transaction_amount=900.0, country="FR", device="web"),
    ]
    row = row_at("user_habits", tables(events), MIDNIGHT)
    assert row is not None
    amounts = pd.Series([10.0, 40.0])
    assert row["user_payments_30d"] == 2
    assert row["amount_mean_30d_usd"] == pytest.approx(amounts.mean())
    assert row["amount_std_30d_usd"] == pytest.approx(amounts.std())
    assert (row["usual_country_30d"], row["usual_device_30d"]) == ("GB", "ios")


def test_a_user_who_did_not_pay_on_a_day_has_no_row_of_it() -> None:
    events = tables([payment(MIDNIGHT - 3 * DAY)])
    rows = rows_of("user_habits", events, MIDNIGHT - 10 * DAY, MIDNIGHT)
    assert list(rows.index) == [(USER, MIDNIGHT - 2 * DAY)]
    assert pd.isna(rows["amount_std_30d_usd"].iloc[0])


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_equally_usual_countries_the_first_by_name_is_usual_whatever_the_order(order: tuple[int, int]) -> None:
    events = tables([payment(NOON, order[0], country="GB", device="web"), payment(NOON + HOUR, order[1], country="DE")])
    row = row_at("user_habits", events, MIDNIGHT + DAY)
    assert row is not None
    assert (row["usual_country_30d"], row["usual_device_30d"]) == ("DE", "ios")


def test_a_request_is_asked_at_receipt_and_says_when_the_payment_was_made() -> None:
    late = payment(NOON, event_at=NOON - 6 * HOUR, transaction_amount=121.4, country=None)
    assert requests_of(FRAUD, tables([late]), NOON - DAY, NOON).empty
    (request,) = requests_of(FRAUD, tables([late]), NOON, NOON + INSTANT).to_dict("records")
    assert (request["subject_id"], request["requested_at"], request["event_ts"]) == (USER, NOON, NOON - 6 * HOUR)
    assert (request["event_id"], request["transaction_amount"]) == (late["event_id"], 121.4)
    assert pd.isna(request["country"])


def _label(events: Tables, as_of: pd.Timestamp) -> dict[str, Any] | None:
    requests = requests_of(FRAUD, events, NOON, NOON + INSTANT)
    labels = labels_of(FRAUD, before(events, as_of), requests, as_of).to_dict("records")
    return {str(name): value for name, value in labels[0].items()} if labels else None


def test_a_chargeback_is_known_when_it_is_received_and_not_an_instant_before() -> None:
    paid, known_at = payment(NOON), NOON + 9 * DAY
    events = tables([paid], [chargeback(paid, known_at)])
    assert _label(events, known_at - INSTANT) is None
    label = _label(events, known_at)
    assert label is not None
    assert label["label"]
    assert (label["event_at"], label["known_at"]) == (known_at - HOUR, known_at)


@pytest.mark.parametrize(("lateness", "is_positive"), [(-INSTANT, True), (0 * DAY, True), (INSTANT, False)])
def test_a_chargeback_counts_until_45_days_and_no_instant_longer(lateness: pd.Timedelta, is_positive: bool) -> None:
    paid = payment(NOON)
    label = _label(tables([paid], [chargeback(paid, NOON + HORIZON + lateness)]), NOON + HORIZON + DAY)
    assert label is not None
    assert label["label"] == is_positive
    assert label["known_at"] == NOON + HORIZON + min(lateness, 0 * DAY)


def test_a_payment_without_a_chargeback_is_known_to_be_good_after_45_days_and_not_before() -> None:
    other = payment(NOON + HOUR, 1)
    events = tables([payment(NOON), other], [chargeback(other, NOON + 9 * DAY)])
    assert _label(events, NOON + HORIZON - INSTANT) is None
    label = _label(events, NOON + HORIZON)
    assert label is not None
    assert not label["label"]
    assert label["event_at"] == label["known_at"] == NOON + HORIZON


def test_a_second_chargeback_of_a_payment_changes_nothing() -> None:
    paid = payment(NOON)
    once = tables([paid], [chargeback(paid, NOON + 9 * DAY)])
    twice = tables([paid], [chargeback(paid, NOON + 20 * DAY, 1), chargeback(paid, NOON + 9 * DAY)])
    assert _label(twice, NOON + HORIZON) == _label(once, NOON + HORIZON) is not None


@pytest.mark.parametrize(
    ("asked", "is_labelled"),
    [
        ({"requested_at": NOON + DAY}, True),
        ({"requested_at": NOON - DAY}, True),
        ({"requested_at": NOON + DAY + INSTANT}, False),
        ({"requested_at": NOON - DAY - INSTANT}, False),
        ({"event_id": payment(NOON, 1)["event_id"]}, False),
        ({"event_id": None}, False),
        ({"subject_id": "user-00007"}, False),
    ],
)
def test_a_request_is_about_the_payment_of_its_user_and_id_that_is_recorded_within_a_day(
    asked: dict[str, Any], is_labelled: bool
) -> None:
    events = tables([payment(NOON)])
    usual = {"subject_id": USER, "requested_at": NOON, "event_id": payment(NOON)["event_id"]}
    labels = labels_of(FRAUD, events, pd.DataFrame([usual | asked]), NOON + 2 * HORIZON)
    assert len(labels) == is_labelled


def test_a_payment_that_was_charged_back_before_it_was_asked_about_has_no_label() -> None:
    paid = payment(NOON)
    events = tables([paid], [chargeback(paid, NOON + HOUR)])
    asked = pd.DataFrame({"subject_id": USER, "requested_at": [NOON + HOUR], "event_id": paid["event_id"]})
    assert labels_of(FRAUD, events, asked, NOON + 2 * HORIZON).empty
