"""Hand-made events of loans, and the SQL of the use case run over them.

Belongs here: helpers of the tests of this folder. Does not belong here: assertions.
"""

from typing import Any

import pandas as pd

from shadow_platform.testing.tables import Tables, labels_of, requests_of, run
from shadow_platform.use_cases import load_use_case

CREDIT = load_use_case("credit")
INSTANT, HOUR, DAY = pd.Timedelta(microseconds=1), pd.Timedelta(hours=1), pd.Timedelta(days=1)
NOON = pd.Timestamp("2023-05-10T12:00:00Z")
HORIZON = 90 * DAY
PERSON, LOAN = "APP_00123", "LOAN_0000001"

Row = dict[str, Any]


def _event(event_id: str, received_at: pd.Timestamp, event_at: pd.Timestamp | None) -> Row:
    return {"event_id": event_id, "event_at": event_at or received_at, "received_at": received_at}


def application(at: pd.Timestamp = NOON, loan: str = LOAN, person: str = PERSON, **stated: float) -> Row:
    """An application received at a time."""
    usual = {"age": 25, "income": 50_000.0, "credit_score": 750, "employment_years": 3.0}
    return {**_event(f"a:{loan}", at, None), "application_id": loan, "applicant_id": person, **usual, **stated}


def report(at: pd.Timestamp, person: str = PERSON, event_at: pd.Timestamp | None = None, **held: object) -> Row:
    """A bureau report received at a time."""
    usual: Row = {
        "open_accounts": 4,
        "utilisation_pct": 38.5,
        "inquiries_6m": 1,
        "delinquencies_2y": 0,
        "oldest_account_months": 64,
        "total_debt": 21_400.0,
        "worst_status": "current",
    }
    return {**_event(f"r:{person}:{at.isoformat()}", at, event_at), "applicant_id": person, **usual, **held}


def decision(word: str = "approved", at: pd.Timestamp = NOON + HOUR, loan: str = LOAN, person: str = PERSON) -> Row:
    """A decision received at a time."""
    return {**_event(f"d:{loan}", at, None), "application_id": loan, "applicant_id": person, "decision": word}


def default(at: pd.Timestamp, loan: str = LOAN, event_at: pd.Timestamp | None = None, event_id: str = "x") -> Row:
    """A default reported at a time."""
    about = {"application_id": loan, "applicant_id": PERSON, "days_past_due": 31, "outstanding": 4_200.0}
    return {**_event(f"{event_id}:{loan}", at, event_at), **about}


def tables(**rows: list[Row]) -> Tables:
    """Event tables of rows by kind, typed as the events stage types them."""
    return {
        kind.name: kind.schema.validate(
            pd.DataFrame(rows.get(kind.name, []), columns=list(kind.schema.columns)).astype(
                dict.fromkeys(("event_at", "received_at"), "datetime64[us, UTC]")
            )
        )
        for kind in CREDIT.events
    }


def bureau_rows(reports: list[Row], start: pd.Timestamp = NOON - DAY, end: pd.Timestamp = NOON + DAY) -> pd.DataFrame:
    """Rows of the bureau's view."""
    return run(CREDIT.views[0].sql, tables(bureau_reports=reports), start=start, end=end)


def labels(as_of: pd.Timestamp, **rows: list[Row]) -> pd.DataFrame:
    """Labels of all requests that are known at a time."""
    events = tables(**rows)
    requests = requests_of(CREDIT, events, NOON - DAY, NOON + DAY)
    return labels_of(CREDIT, events, requests, as_of)
