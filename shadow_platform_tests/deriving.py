"""Use case ``deriving``: the tiny shop with two derived features, one of each kind.

Belongs here: its derivation. Does not belong here: assertions. Upstream: tiny. Downstream: tests of derivations, as
``shadow_platform_tests.deriving:USE_CASE``.
"""

from dataclasses import replace

from shadow_platform.contracts.use_case import Derivation, Feature, FeatureValue
from shadow_platform_tests.tiny import USE_CASE as TINY


def cart_beside_history(
    cart_value: float | None, channel: str | None, visits_7d: float | None
) -> dict[str, FeatureValue]:
    """Value of the cart a visit of the week, and whether the visitor came often and by which channel."""
    return {
        "cart_per_visit": None if cart_value is None or not visits_7d or visits_7d < 1 else cart_value / visits_7d,
        "habit": None
        if channel is None or visits_7d is None
        else f"{'often' if visits_7d > 10 else 'rarely'} {channel}",
    }


DERIVATION = Derivation(
    "cart_beside_history", "The cart beside the week", ("cart_value", "channel", "visits_7d"), cart_beside_history
)
DERIVED = (
    Feature("cart_per_visit", "Cart over visits", unit="EUR", derivation="cart_beside_history", low=0, high=10_000),
    Feature("habit", "How often, and by which channel", "categorical", derivation="cart_beside_history"),
)
USE_CASE = replace(TINY, name="deriving", features=(*TINY.features, *DERIVED), derivations=(DERIVATION,))
