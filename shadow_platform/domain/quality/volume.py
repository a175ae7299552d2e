"""Whether as much came as usual, and whether it kept coming: requests, and each kind of events.

Usual is the median of the same weekday in the four weeks before, so that a weekend is compared with weekends and one
bad week does not become the norm. Two numbers of arrivals are compared by the exact conditional test of Przyborowski
and Wilenski (1940): given both, the day's is binomial. Upstream: numbers of requests and events by day and hour.
Downstream: the asset data_quality.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from statistics import median

from shadow_platform.contracts.policies.monitoring import DataQualityPolicy, QualityCheck
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.quality.chance import share_at_least, share_at_most
from shadow_platform.domain.quality.findings import Finding, insufficient

WEEKS = 4
MIN_WEEKS = 2
HOURS = 24


def same_weekdays_before(day: date) -> tuple[date, ...]:
    """The same weekday in the four weeks before.

    >>> [str(day) for day in same_weekdays_before(date(2024, 3, 1))]
    ['2024-02-23', '2024-02-16', '2024-02-09', '2024-02-02']
    """
    return tuple(day - timedelta(weeks=week) for week in range(1, WEEKS + 1))


def judge_volume(
    check: QualityCheck, checked: str, day: date, n: int, earlier: Sequence[int], policy: DataQualityPolicy
) -> list[Finding]:
    """How many came on a day over what is usual; it fails when the ratio is beyond a limit and chance no excuse.

    Args:
        earlier: numbers of the same weekday in the four weeks before; a day on which none came is not counted in.
    """
    low, high = policy.min_volume_ratio, policy.max_volume_ratio
    limits = [limit for limit in (low, high) if limit is not None]
    if not limits:
        return []
    known = [number for number in earlier if number > 0]
    what = checked or "requests"
    if len(known) < MIN_WEEKS:
        reason = f"{n} {what}; fewer than {MIN_WEEKS} of the {WEEKS} {day:%A}s before had any, so nothing is usual yet"
        return [insufficient(check, checked, limits[0], n, reason)]
    weeks, usual = len(known), median(known)
    total = n + round(weeks * usual)
    is_low = low is not None and share_at_most(n, total) < low / (low + weeks)
    is_high = high is not None and share_at_least(n, total) > high / (high + weeks)
    ratio = n / usual
    sides = [f"{word} {side:g}" for word, side in (("at least", low), ("at most", high)) if side is not None]
    reason = f"{n} {what} on a {day:%A}; {usual:g} are usual, {' and '.join(sides)} times that is expected"
    outcome = Outcome.FAIL if is_low or is_high else Outcome.PASS
    return [Finding(check, checked, outcome, ratio, limits[0] if ratio < 1 else limits[-1], n, reason)]


def judge_silence(times: Sequence[datetime], start: datetime, policy: DataQualityPolicy) -> list[Finding]:
    """The longest time without a request from the start of a day to its end, in hours.

    Args:
        times: of the day's requests, in order.
    """
    if policy.max_silence is None:
        return []
    moments = [start, *times, start + timedelta(days=1)]
    longest, since = max((after - before, before) for before, after in pairwise(moments))
    value, limit = longest / timedelta(hours=1), policy.max_silence / timedelta(hours=1)
    outcome = Outcome.FAIL if longest > policy.max_silence else Outcome.PASS
    reason = f"no request for {value:.1f} hours from {since:%H:%M} UTC on; at most {limit:g} hours are allowed"
    return [Finding("silence", "", outcome, value, limit, len(times), reason)]


def judge_event_silence(
    kind: str, day: date, hours: Sequence[int], earlier: Sequence[Sequence[int]], policy: DataQualityPolicy
) -> list[Finding]:
    """Whether a kind of events stopped coming: the chance that none came in the last hours of the day.

    Args:
        hours: events received in each hour of the day.
        earlier: the same of the same weekday in the four weeks before; a day without events is not counted in.
    """
    alpha = policy.silence_alpha
    if alpha is None:
        return []
    known, n = [day_before for day_before in earlier if sum(day_before) > 0], sum(hours)
    if len(known) < MIN_WEEKS:
        reason = f"fewer than {MIN_WEEKS} of the {WEEKS} {day:%A}s before had any {kind}, so nothing is usual yet"
        return [insufficient("event_silence", kind, alpha, n, reason)]
    if not n:
        return [insufficient("event_silence", kind, alpha, 0, f"no {kind} at all: see event_volume")]
    stopped = max(hour for hour in range(HOURS) if hours[hour]) + 1
    weeks, usual = len(known), median(sum(day_before[stopped:]) for day_before in known)
    chance = (weeks / (weeks + 1)) ** (weeks * usual)
    outcome = Outcome.FAIL if chance < alpha else Outcome.PASS
    reason = f"no {kind} from {stopped:02d}:00 UTC on, when {usual:g} are usual: by chance in {chance:.1g} of days"
    if stopped == HOURS:
        reason = f"{kind} came until the end of the day"
    return [Finding("event_silence", kind, outcome, chance, alpha, n, reason)]
