"""What an event of this use case must look like; a row that does not is quarantined with the reason.

Belongs here: columns, types and ranges of the payload. Does not belong here: parsing, quarantine (the events stage).
Upstream: simulator, or the stream of a payment gateway. Downstream: the event tables that the SQL of this package
reads.
"""

from shadow_platform.contracts.use_case import EventKind, Topic
from shadow_platform.use_case_kit.schemas import event_schema, measured, text

ULID = r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$"
COUNTRY = r"^[A-Z]{2}$"
WORD = r"^[a-z_]{1,32}$"
HIGHEST_AMOUNT_USD = 1_000_000.0

TRANSACTIONS = EventKind(
    name="transactions",
    description="A payment that waits to be authorised; received as it is asked for, or when its terminal is back "
    "online",
    schema=event_schema(
        {
            "user_id": text(description="who pays"),
            "transaction_amount": measured(0.01, HIGHEST_AMOUNT_USD, "amount, USD", nullable=False),
            "country": text(COUNTRY, "where the card is used, ISO 3166-1 alpha-2", nullable=True),
            "device": text(WORD, "what it is used on"),
            "merchant_id": text(description="who is paid"),
            "merchant_category": text(WORD, "what the merchant sells"),
        }
    ),
    topic=Topic("transactions", key="user_id"),
)
CHARGEBACKS = EventKind(
    name="chargebacks",
    description="A user's bank takes a payment back; received 5 to 45 days after the payment, some later",
    schema=event_schema(
        {
            "transaction_id": text(ULID, "event_id of the payment that is taken back"),
            "user_id": text(description="who had paid"),
            "chargeback_amount": measured(0.01, HIGHEST_AMOUNT_USD, "amount taken back, USD", nullable=False),
        }
    ),
)

EVENTS = (TRANSACTIONS, CHARGEBACKS)
