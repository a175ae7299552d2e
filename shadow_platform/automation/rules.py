"""When the next training may start, by policy and the times of the trainings before: values alone.

Belongs here: cooldown and budget, for triggers and for the time machine alike. Does not belong here: where the times
come from (``restraints``). Upstream: the retrain policy. Downstream: restraints, the time machine.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from shadow_platform.contracts.use_case import RetrainPolicy

WEEK = timedelta(days=7)


def cooldown_ends(policy: RetrainPolicy, started: Sequence[datetime], now: datetime) -> datetime | None:
    """Until when the newest training holds others back; ``None``: none does.

    A training dated in the future tells of a clock that was put back: it counts while less than a cooldown ahead, so
    that a training waits for two cooldowns at most, whatever the clock did.

    >>> day, hour = datetime(2024, 3, 5), timedelta(hours=1)
    >>> cooldown_ends(RetrainPolicy(cooldown=6 * hour), [day], day + 5 * hour)
    datetime.datetime(2024, 3, 5, 6, 0)
    >>> cooldown_ends(RetrainPolicy(cooldown=6 * hour), [day], day + 6 * hour)
    """
    near = [at for at in started if abs(now - at) < policy.cooldown]
    return max(near) + policy.cooldown if near else None


def started_within_a_week(started: Sequence[datetime], now: datetime) -> list[datetime]:
    """Trainings of the last seven days, the oldest first; those of the future only while less than a week ahead."""
    return sorted(at for at in started if abs(now - at) < WEEK)


def budget_frees(policy: RetrainPolicy, started: Sequence[datetime], now: datetime) -> datetime | None:
    """When one more training fits the budget of a week; ``None``: now.

    >>> monday = datetime(2024, 3, 4)
    >>> two = [monday, monday + timedelta(days=1)]
    >>> budget_frees(RetrainPolicy(max_per_week=2), two, monday + timedelta(days=2))
    datetime.datetime(2024, 3, 11, 0, 0)
    >>> budget_frees(RetrainPolicy(max_per_week=2), two, monday + WEEK)
    >>> budget_frees(RetrainPolicy(max_per_week=None), two * 99, monday + timedelta(days=2))
    """
    recent = started_within_a_week(started, now)
    if policy.max_per_week is None or len(recent) < policy.max_per_week:
        return None
    return recent[len(recent) - policy.max_per_week] + WEEK
