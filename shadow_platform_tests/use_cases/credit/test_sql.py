"""What a request sees and when its label is known, to the instant."""

import numpy as np
import pandas as pd
import pytest

from shadow_platform.testing.tables import labels_of, requests_of
from shadow_platform_tests.use_cases.credit.loans import (
    CREDIT,
    DAY,
    HORIZON,
    HOUR,
    INSTANT,
    NOON,
    PERSON,
    Row,
    application,
    bureau_rows,
    decision,
    default,
    labels,
    report,
    tables,
)

MINUTE = pd.Timedelta(minutes=1)
BUREAU = [feature.name for feature in CREDIT.view_features("bureau_file")]


@pytest.mark.parametrize(
    ("received_at", "stamped_at"),
    [(NOON - HOUR + INSTANT, NOON), (NOON, NOON), (NOON + INSTANT, NOON + HOUR)],
)
def test_a_report_is_stamped_at_the_end_of_the_hour_of_its_receipt(
    received_at: pd.Timestamp, stamped_at: pd.Timestamp
) -> None:
    rows = bureau_rows([report(received_at, event_at=received_at - 5 * DAY)])
    assert list(rows["event_at"]) == [stamped_at]
    assert list(rows["created_at"]) == [stamped_at]


def test_the_window_of_the_view_is_open_below_and_closed_above() -> None:
    reports = [report(NOON - HOUR, "APP_00001"), report(NOON, "APP_00002"), report(NOON + HOUR, "APP_00003")]
    assert list(bureau_rows(reports, NOON - HOUR, NOON)["applicant_id"]) == ["APP_00002"]


def test_of_two_reports_within_an_hour_the_later_received_counts() -> None:
    asked_first = report(NOON - INSTANT, event_at=NOON - DAY, total_debt=1.0)
    asked_last = report(NOON - 9 * INSTANT, event_at=NOON - HOUR, total_debt=2.0)
    assert list(bureau_rows([asked_first, asked_last])["total_debt"]) == [1.0]


def test_the_view_agrees_with_pandas_on_any_reports() -> None:
    rng = np.random.default_rng(3)
    reports = [
        report(
            NOON + pd.Timedelta(seconds=float(second)),
            f"APP_{person:05d}",
            utilisation_pct=None if is_missing else float(person),
            open_accounts=int(second) % 7,
            worst_status=("current", "late_30")[int(second) % 2],
        )
        for second, person, is_missing in zip(
            rng.choice(100_000, 400, replace=False) - 50_000,
            rng.integers(0, 30, 400),
            rng.random(400) < 0.2,
            strict=True,
        )
    ]
    frame = tables(bureau_reports=reports)["bureau_reports"].sort_values("received_at")
    frame["event_at"] = frame["received_at"].dt.ceil("h")
    expected = frame.drop_duplicates(["event_at", "applicant_id"], keep="last")
    expected = expected[(expected["event_at"] > NOON - 9 * HOUR) & (expected["event_at"] <= NOON + 9 * HOUR)]
    found = bureau_rows(reports, NOON - 9 * HOUR, NOON + 9 * HOUR)
    key = ["event_at", "applicant_id"]
    pd.testing.assert_frame_equal(
        found[key + BUREAU].reset_index(drop=True),
        expected.sort_values(key)[key + BUREAU].reset_index(drop=True),
        check_dtype=False,
    )
    assert len(found) > 100


def test_a_request_is_asked_when_the_application_arrives_with_what_it_states() -> None:
    paper: Row = {**application(NOON), "event_at": NOON - 3 * DAY}
    events = tables(
        applications=[paper, application(NOON - INSTANT, "LOAN_0000002"), application(NOON + INSTANT, "LOAN_0000003")]
    )
    requests = requests_of(CREDIT, events, NOON, NOON + INSTANT)
    assert requests.to_dict("records") == [
        {
            "subject_id": PERSON,
            "applicant_id": PERSON,
            "requested_at": NOON,
            "age": 25,
            "income": 50_000.0,
            "credit_score": 750,
            "employment_years": 3.0,
        }
    ]


def test_a_default_is_known_from_the_instant_of_its_report() -> None:
    reported_at, happened_at = NOON + 40 * DAY, NOON + 39 * DAY
    rows = {
        "applications": [application()],
        "decisions": [decision()],
        "defaults": [default(reported_at, event_at=happened_at)],
    }
    assert labels(reported_at - INSTANT, **rows).empty
    (known,) = labels(reported_at, **rows).to_dict("records")
    assert known == {
        "subject_id": PERSON,
        "requested_at": NOON,
        "label": True,
        "event_at": happened_at,
        "known_at": reported_at,
    }
    assert labels(NOON + 400 * DAY, **rows).to_dict("records") == [known]


def test_no_default_is_known_when_the_horizon_has_passed_and_not_before() -> None:
    rows = {"applications": [application()], "decisions": [decision()]}
    assert labels(NOON + HORIZON - INSTANT, **rows).empty
    (known,) = labels(NOON + HORIZON, **rows).to_dict("records")
    assert known["label"] is False
    assert known["known_at"] == known["event_at"] == NOON + HORIZON


@pytest.mark.parametrize(("reported_at", "is_default"), [(NOON + HORIZON, True), (NOON + HORIZON + INSTANT, False)])
def test_a_default_counts_up_to_the_last_instant_of_the_horizon(reported_at: pd.Timestamp, is_default: bool) -> None:
    rows = {"applications": [application()], "decisions": [decision()], "defaults": [default(reported_at)]}
    assert list(labels(NOON + 2 * HORIZON, **rows)["label"]) == [is_default]


def test_a_rejected_application_never_has_a_label() -> None:
    rows = {"applications": [application()], "decisions": [decision("rejected")], "defaults": [default(NOON + DAY)]}
    assert labels(NOON + 400 * DAY, **rows).empty


def test_an_application_without_a_decision_has_no_label() -> None:
    assert labels(NOON + 400 * DAY, applications=[application()]).empty


def test_a_default_told_twice_is_one_label_known_at_the_first() -> None:
    rows = {
        "applications": [application()],
        "decisions": [decision()],
        "defaults": [default(NOON + 50 * DAY, event_id="again"), default(NOON + 40 * DAY)],
    }
    known = labels(NOON + HORIZON, **rows)
    assert list(known["known_at"]) == [NOON + 40 * DAY]


def test_another_loan_of_the_same_person_is_no_label() -> None:
    other = "LOAN_0000002"
    rows = {
        "applications": [application(), application(NOON + HOUR, other)],
        "decisions": [decision(), decision(loan=other, at=NOON + 2 * HOUR)],
        "defaults": [default(NOON + 40 * DAY, other)],
    }
    known = labels(NOON + 2 * HORIZON, **rows).sort_values("requested_at")
    assert list(known["label"]) == [False, True]


def _label_asked_at(*at: pd.Timestamp, **rows: list[Row]) -> list[bool]:
    requests = pd.DataFrame({"subject_id": PERSON, "requested_at": list(at)}).astype(
        {"requested_at": "datetime64[us, UTC]"}
    )
    return list(labels_of(CREDIT, tables(**rows), requests, NOON + 2 * HORIZON)["label"])


@pytest.mark.parametrize(
    ("offset", "n_labels"),
    [(DAY, 1), (DAY + INSTANT, 0), (-5 * MINUTE, 1), (-5 * MINUTE - INSTANT, 0)],
)
def test_a_request_is_about_an_application_a_day_before_or_five_minutes_after_it(
    offset: pd.Timedelta, n_labels: int
) -> None:
    rows = {"applications": [application()], "decisions": [decision()]}
    assert len(_label_asked_at(NOON + offset, **rows)) == n_labels


@pytest.mark.parametrize(("offset", "is_default"), [(HOUR - INSTANT, True), (3 * HOUR, False)])
def test_a_request_is_about_the_application_nearest_to_it(offset: pd.Timedelta, is_default: bool) -> None:
    other = "LOAN_0000002"
    rows = {
        "applications": [application(), application(NOON + 2 * HOUR, other)],
        "decisions": [decision(), decision(loan=other, at=NOON + 3 * HOUR)],
        "defaults": [default(NOON + 40 * DAY)],
    }
    assert _label_asked_at(NOON + offset, **rows) == [is_default]
