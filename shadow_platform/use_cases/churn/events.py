"""What an event of this use case must look like; a row that does not is quarantined with the reason.

Belongs here: columns, types and ranges of the payload, and the levels they know. Does not belong here: parsing,
quarantine (the events stage). Upstream: the simulator. Downstream: the event tables that the SQL of this package reads.
"""

import pandera.pandas as pa

from shadow_platform.contracts.use_case import EventKind
from shadow_platform.use_case_kit.schemas import event_schema, flag, measured, moment, one_of, text, whole

AGE_BANDS = ("18-24", "25-34", "35-49", "50-64", "65+")
REGIONS = ("north", "east", "south", "west", "central")
PLANS = ("basic", "standard", "premium", "business")
CONTRACTS = ("month_to_month", "one_year", "two_year")
PAYMENT_METHODS = ("credit_card", "direct_debit", "bank_transfer", "wallet")
CHANNELS = ("organic", "paid_search", "referral", "retail", "telesales")
CHANGES = ("signup", "renewal", "change")
STATUSES = ("completed", "failed")
REASONS = ("price", "service", "moved", "other")

MAX_SESSION_MIN = 24 * 60
MAX_AMOUNT = 100_000
MAX_RESOLUTION_HOURS = 2_000
MAX_SCORE = 10


def _customer() -> dict[str, pa.Column]:
    return {"customer_id": text(description="who it is about")}


def _not_before_the_sign_up(schema: pa.DataFrameSchema) -> pa.DataFrameSchema:
    """The schema of events that tell of a subscription, which lie before it in no row."""
    rule = pa.Check(lambda rows: rows["event_at"] >= rows["signed_up_at"], error="event_at_not_before_signed_up_at")
    return pa.DataFrameSchema(schema.columns, checks=rule)


SUBSCRIPTIONS = EventKind(
    name="subscriptions",
    description="A subscription as it stands: sent at the sign-up, with every monthly bill, and at a move",
    schema=_not_before_the_sign_up(
        event_schema(
            {
                **_customer(),
                "change": one_of(CHANGES, "why it was sent"),
                "signed_up_at": moment("when the customer first subscribed"),
                "age_band": one_of(AGE_BANDS, "age, years"),
                "region": one_of(REGIONS, "where the customer lives"),
                "plan_type": one_of(PLANS, "tariff"),
                "contract_type": one_of(CONTRACTS, "how long the customer is bound"),
                "payment_method": text(r"^[a-z_]{1,32}$", "how bills are paid, as the billing system names it"),
                "acquisition_channel": one_of(CHANNELS, "how the customer was won"),
            }
        )
    ),
)
CANCELLATIONS = EventKind(
    name="cancellations",
    description="A customer has cancelled; the subscription ends at once",
    schema=event_schema({**_customer(), "reason": one_of(REASONS, "reason given")}),
)
LOGINS = EventKind(
    name="logins",
    description="A customer has logged in to the app or the portal; a phone that is offline reports it later",
    schema=event_schema({**_customer(), "is_mobile": flag("app rather than portal")}),
)
SESSIONS = EventKind(
    name="sessions",
    description="A visit to the app or the portal is over",
    schema=event_schema(
        {
            **_customer(),
            "duration_min": measured(0, MAX_SESSION_MIN, "length, minutes", nullable=False),
            "pages": measured(0, 10_000, "pages seen; null where the counter was blocked"),
        }
    ),
)
TRANSACTIONS = EventKind(
    name="transactions",
    description="A payment was tried: a monthly bill or a top-up",
    schema=event_schema(
        {
            **_customer(),
            "amount": measured(0, MAX_AMOUNT, "USD", nullable=False),
            "status": one_of(STATUSES, "whether the money came"),
        }
    ),
)
SUPPORT_TICKETS = EventKind(
    name="support_tickets",
    description="A support ticket was opened or resolved: one event each",
    schema=event_schema(
        {
            **_customer(),
            "ticket_id": text(description="ticket that both events name"),
            "status": one_of(("opened", "resolved"), "which of the two"),
            "resolution_hours": measured(0, MAX_RESOLUTION_HOURS, "from opened to resolved; null when opened"),
        }
    ),
)
SURVEYS = EventKind(
    name="surveys",
    description="A customer has answered the satisfaction survey",
    schema=event_schema({**_customer(), "score": whole(0, MAX_SCORE, "0 very unsatisfied, 10 very satisfied")}),
)

EVENTS = (SUBSCRIPTIONS, CANCELLATIONS, LOGINS, SESSIONS, TRANSACTIONS, SUPPORT_TICKETS, SURVEYS)
