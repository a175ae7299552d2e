"""How facts about versions are written for people, in a terminal and on a page alike.

Belongs here: one value, one text. Does not belong here: tables, trees and markup. Upstream: ``contracts.versions``.
Downstream: ``domain.versions``, command line, ``adapters.pages``.
"""

from datetime import UTC, datetime

from shadow_platform.contracts.model_card import MetricEstimate
from shadow_platform.contracts.versions import Scalar

UNKNOWN = "-"
# The metric that stands for a segment where there is room for one.
SEGMENT_METRIC = "log_loss"


def fact(value: Scalar) -> str:
    """A fact in words.

    >>> fact(None), fact(True), fact(0.1234567), fact("mail")
    ('-', 'yes', '0.123457', 'mail')
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def estimate(found: MetricEstimate | None) -> str:
    """A metric with its interval.

    >>> estimate(MetricEstimate(value=0.75, low=0.7, high=0.8))
    '0.7500 [0.7000, 0.8000]'
    """
    if found is None:
        return UNKNOWN
    has_interval = found.low is not None and found.high is not None
    return f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]" if has_interval else f"{found.value:.4f}"


def moment(at: datetime) -> str:
    """A time in UTC, as short as it can be without becoming another one.

    >>> moment(datetime(2024, 3, 1, tzinfo=UTC)), moment(datetime(2024, 3, 1, 0, 0, 40, tzinfo=UTC))
    ('2024-03-01 00:00', '2024-03-01 00:00:40')
    """
    is_whole = (at.second, at.microsecond) == (0, 0)
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="minutes" if is_whole else "auto")


def sameness(is_same: bool | None) -> str:
    """Whether two versions agree in something.

    >>> sameness(True), sameness(False), sameness(None)
    ('same', 'differs', 'not known')
    """
    return {True: "same", False: "differs", None: "not known"}[is_same]
