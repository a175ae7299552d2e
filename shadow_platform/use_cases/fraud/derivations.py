"""What a payment says only beside the user's own habits: computed when it is asked about, by the same functions always.

Belongs here: pure functions of one request's values. Does not belong here: which features they make (``features``).
Upstream: the payment in the request, the view ``user_habits``. Downstream: training, serving, Feast, through the
UseCase value.
"""

from shadow_platform.contracts.use_case import FeatureValue

CENT = 0.01
"""No payment is smaller, hence no mean; a spread below it is that of one amount paid again and again."""


def amount_against_habit(
    transaction_amount: float | None, amount_mean_30d_usd: float | None, amount_std_30d_usd: float | None
) -> dict[str, FeatureValue]:
    """The amount as a multiple of the user's mean, and its distance from it in standard deviations.

    >>> amount_against_habit(90.0, 30.0, 20.0)
    {'amount_to_mean_ratio_30d': 3.0, 'amount_z_30d': 3.0}
    >>> amount_against_habit(90.0, 30.0, None)
    {'amount_to_mean_ratio_30d': 3.0, 'amount_z_30d': None}
    """
    ratio = z = None
    if transaction_amount is not None and amount_mean_30d_usd is not None:
        if amount_mean_30d_usd >= CENT:
            ratio = transaction_amount / amount_mean_30d_usd
        if amount_std_30d_usd is not None and amount_std_30d_usd >= CENT:
            z = (transaction_amount - amount_mean_30d_usd) / amount_std_30d_usd
    return {"amount_to_mean_ratio_30d": ratio, "amount_z_30d": z}


def place_against_habit(
    country: str | None, device: str | None, usual_country_30d: str | None, usual_device_30d: str | None
) -> dict[str, FeatureValue]:
    """Whether country and device are the user's usual ones.

    >>> place_against_habit("US", "web", "US", None)
    {'is_usual_country': 'yes', 'is_usual_device': None}
    """
    return {
        "is_usual_country": _is_same(country, usual_country_30d),
        "is_usual_device": _is_same(device, usual_device_30d),
    }


def _is_same(value: str | None, usual: str | None) -> str | None:
    if value is None or usual is None:
        return None
    return "yes" if value == usual else "no"
