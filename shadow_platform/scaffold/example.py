"""The example of ``shadow new-use-case``: ninety days of a small shop's orders, and which of them came back.

Belongs here: inventing the rows of one CSV. Does not belong here: reading any. Upstream: a seed. Downstream: the
tutorial, ``new-use-case`` without a CSV. To write the file: ``python -m shadow_platform.scaffold.example orders.csv``.

Whether an order comes back depends on the customer, and on price and discount in a way that no line follows: cheap and
dear things come back more than others, and a discount matters for clothes alone. An export knows only what has come
back by then, so that the latest orders all seem to be kept.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from shadow_platform.scaffold.table import Roles

FIRST_INSTANT = pd.Timestamp("2024-01-01T00:00:00Z")
N_DAYS, ORDERS_PER_DAY, N_CUSTOMERS = 90, 180, 300
RETURN_DAYS = 7
DAY_S = 24 * 3600
CATEGORIES = ("books", "clothes", "garden", "toys")
CATEGORY_LOGITS = np.array([-0.6, 0.5, -0.2, 0.1])
CHANNELS = ("app", "shop", "web")

ROLES = Roles("order_id", "customer_id", "ordered_at", "is_returned", "returned_at")


def orders(seed: int = 0) -> pd.DataFrame:
    """Rows of the export, in order of ``ordered_at``."""
    chance = np.random.default_rng(seed)
    n = N_DAYS * ORDERS_PER_DAY
    seconds = np.sort(chance.choice(N_DAYS * DAY_S, n, replace=False))
    customer = chance.integers(0, N_CUSTOMERS, n)
    category, channel = chance.integers(0, len(CATEGORIES), n), chance.integers(0, len(CHANNELS), n)
    price = np.round(np.exp(chance.normal(3.6, 0.6, n)).clip(3, 400), 2)
    discount = chance.choice([0, 10, 20, 30, 50], n, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    taste = chance.normal(0.0, 0.8, N_CUSTOMERS)
    is_discounted_clothing = (category == CATEGORIES.index("clothes")) & (discount >= 20)
    curved = 1.4 * ((np.log(price) - 3.6) / 0.6) ** 2
    logit = -2.8 + taste[customer] + CATEGORY_LOGITS[category] + curved.clip(0, 4) + 2.0 * is_discounted_clothing
    comes_back = chance.random(n) < 1 / (1 + np.exp(-logit))
    delay_s = (DAY_S / 2 + chance.exponential(2 * DAY_S, n)).clip(0, RETURN_DAYS * DAY_S - 60).astype(int)
    has_come_back = comes_back & (seconds + delay_s < N_DAYS * DAY_S)
    ordered_at = FIRST_INSTANT + pd.to_timedelta(seconds, unit="s")
    returned_at = ordered_at + pd.to_timedelta(delay_s, unit="s")
    return pd.DataFrame(
        {
            "order_id": [f"O-{number:06d}" for number in range(n)],
            "customer_id": [f"C-{number:03d}" for number in customer],
            "ordered_at": ordered_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "category": np.array(CATEGORIES)[category],
            "channel": np.array(CHANNELS)[channel],
            "price_eur": price,
            "discount_pct": discount,
            "is_returned": np.where(has_come_back, "true", "false"),
            "returned_at": pd.Series(returned_at.strftime("%Y-%m-%dT%H:%M:%SZ")).where(has_come_back, ""),
        }
    )


def write(path: Path) -> None:
    """Write the export."""
    orders().to_csv(path, index=False)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
