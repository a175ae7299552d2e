"""The timeline: quality, scores, verdicts and versions of a use case on one time axis, for people.

Upstream: performance_daily, proxy_daily, drift_verdicts, performance_verdicts. Downstream: a browser.
"""

import dagster as dg
import pandas as pd

from shadow_platform.contracts.tables import DRIFT_VERDICTS, PERFORMANCE_DAILY, PERFORMANCE_VERDICTS, PROXY_DAILY
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.resources import PlatformResource

READ = ("performance_daily", "performance_verdict", "proxy_metrics", "drift_verdict")


def build_performance_timeline(use_case: UseCase) -> dg.AssetsDefinition:
    """The asset ``performance_timeline`` of a use case."""

    @dg.asset(
        key=[use_case.name, "performance_timeline"],
        deps=[[use_case.name, name] for name in READ],
        group_name="performance",
        kinds={"matplotlib"},
        owners=[use_case.owner],
        code_version="1",
    )
    def performance_timeline(platform: PlatformResource) -> dg.MaterializeResult:
        """One picture of every day there is: realised and estimated quality, scores, verdicts, versions.

        A line stands where answers of another version begin, by request time, also when a period is replayed.
        Not partitioned.
        """
        lake = platform.lake()
        daily, proxies = lake.read_table(PERFORMANCE_DAILY, use_case), lake.read_table(PROXY_DAILY, use_case)
        verdicts = _verdicts(platform, use_case)
        title = f"{use_case.title}: models over time"
        plot = platform.pictures().timeline(daily, proxies, verdicts, title)
        n_days = pd.concat([daily["day_at"], proxies["day_at"]]).nunique()
        facts = {"days": n_days, "verdicts": len(verdicts), "timeline": dg.MetadataValue.md(plot)}
        return dg.MaterializeResult(metadata=facts)

    return performance_timeline


def _verdicts(platform: PlatformResource, use_case: UseCase) -> pd.DataFrame:
    """``kind, window_end, outcome``: the last evaluation of each window; of drift, those of whole days."""
    lake = platform.lake()
    drift, performance = lake.read_table(DRIFT_VERDICTS, use_case), lake.read_table(PERFORMANCE_VERDICTS, use_case)
    daily = drift[drift["scope"].fillna("daily").eq("daily")]
    parts = [
        rows.sort_values("evaluated_at").assign(kind=kind)[["kind", "window_end", "outcome"]]
        for kind, rows in (("drift", daily), ("performance", performance))
    ]
    both = pd.concat(parts, ignore_index=True)
    return both.drop_duplicates(["kind", "window_end"], keep="last").sort_values(["kind", "window_end"])
