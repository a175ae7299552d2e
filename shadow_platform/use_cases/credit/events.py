"""What an event of this use case must look like; a row that does not is quarantined with the reason.

Belongs here: columns, types and ranges of the payload. Does not belong here: parsing, quarantine (the events stage).
Upstream: simulator. Downstream: the event tables that the SQL of this package reads.
"""

from shadow_platform.contracts.use_case import EventKind
from shadow_platform.use_case_kit.schemas import event_schema, measured, one_of, text, whole

APPLICANT_ID = text(r"^APP_\d{5,}$", "who applies")
APPLICATION_ID = text(r"^LOAN_\d{7,}$", "which application")

APPLICATIONS = EventKind(
    name="applications",
    description="An application as filled in; received when it reaches the lender, which is when a score is asked for",
    schema=event_schema(
        {
            "application_id": APPLICATION_ID,
            "applicant_id": APPLICANT_ID,
            "age": whole(18, 120, "age in years"),
            "income": measured(0, 10_000_000, "stated income, USD a year", nullable=False),
            "credit_score": whole(300, 850, "score that the applicant brings"),
            "employment_years": measured(0, 80, "years in the present employment", nullable=False),
        }
    ),
)
BUREAU_REPORTS = EventKind(
    name="bureau_reports",
    description="What the credit bureau holds on an applicant, sent when an application is begun",
    schema=event_schema(
        {
            "applicant_id": APPLICANT_ID,
            "open_accounts": whole(0, 1_000, "credit accounts in use"),
            "utilisation_pct": measured(0, 500, "share of the granted revolving credit in use, percent"),
            "inquiries_6m": whole(0, 1_000, "credit inquiries of the last 6 months"),
            "delinquencies_2y": whole(0, 1_000, "payments over 30 days late in the last 2 years"),
            "oldest_account_months": whole(0, 1_500, "age of the oldest account"),
            "total_debt": measured(0, 100_000_000, "debt on all accounts, USD"),
            "worst_status": text(r"^[a-z0-9_]{1,32}$", "worst state that an account was in, in the bureau's own words"),
        }
    ),
)
DECISIONS = EventKind(
    name="decisions",
    description="What the lender decided, by its older scorecard and a person's judgement; a rejected loan is not paid",
    schema=event_schema(
        {
            "application_id": APPLICATION_ID,
            "applicant_id": APPLICANT_ID,
            "decision": one_of(("approved", "rejected"), "the loan is paid out, or not"),
        }
    ),
)
DEFAULTS = EventKind(
    name="defaults",
    description="A borrower has stopped paying; received when the servicer reports it. Only an approved loan has one",
    schema=event_schema(
        {
            "application_id": APPLICATION_ID,
            "applicant_id": APPLICANT_ID,
            "days_past_due": whole(1, 3_650, "age of the oldest unpaid instalment"),
            "outstanding": measured(0, 10_000_000, "unpaid part of the loan, USD", nullable=False),
        }
    ),
)

EVENTS = (APPLICATIONS, BUREAU_REPORTS, DECISIONS, DEFAULTS)
