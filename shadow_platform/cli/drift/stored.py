"""The verdict on served requests as they lie in the tables; the asset's own code, and nothing is written.

Upstream: predictions, the champion's bundle, assets.drift. Downstream: the command.
"""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from shadow_platform.assets.drift.judging import judge
from shadow_platform.assets.drift.served import Served
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.monitoring_verdicts import DriftVerdict
from shadow_platform.contracts.policies import DriftPolicy
from shadow_platform.partitions import end_of
from shadow_platform.resources import PlatformResource
from shadow_platform.settings import load_settings
from shadow_platform.use_cases import load_use_case

Judged = tuple[DriftVerdict, DriftPolicy]


def judge_day(use_case: str, day: date, threshold: float | None) -> Judged:
    """Verdict on the policy's window that ends with a day."""
    served = _served(use_case)
    return _judged(served, end_of(day), served.policy, threshold)


def judge_live(use_case: str, threshold: float | None) -> Judged:
    """Verdict on the last ``MONITORING_LOOKBACK`` hours that are over."""
    served = _served(use_case)
    lookback = timedelta(hours=load_settings().monitoring_lookback)
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return _judged(served, end, replace(served.policy, window=lookback, window_rows=None), threshold)


def _served(use_case: str) -> Served:
    try:
        return Served(PlatformResource(), load_use_case(use_case), keep=False)
    except dg.Failure as failure:
        raise ShadowPlatformError(failure.description) from failure


def _judged(served: Served, end: datetime, policy: DriftPolicy, threshold: float | None) -> Judged:
    policy = policy if threshold is None else replace(policy, drift_threshold=threshold)
    return judge(served, end, policy), policy
