"""Quality stage: whether the requests and events of a day are whole, before anybody asks whether they drifted.

``counts`` turns feature values into numbers that add up, ``requests`` judges them against the champion's reference and
the declarations, ``volume`` judges how many came and when, ``chance`` says what chance explains, ``findings`` is the
result. Does not belong here: reading tables (assets), shifts of whole distributions (drift), the form of raw events
(events). Upstream: predictions, events, the champion's reference. Downstream: the asset data_quality.
"""

from shadow_platform.domain.quality.counts import RequestCounts, count_frame
from shadow_platform.domain.quality.findings import Finding
from shadow_platform.domain.quality.requests import judge_duplicates, judge_features, judge_views
from shadow_platform.domain.quality.volume import (
    judge_event_silence,
    judge_silence,
    judge_volume,
    same_weekdays_before,
)

__all__ = [
    "Finding",
    "RequestCounts",
    "count_frame",
    "judge_duplicates",
    "judge_event_silence",
    "judge_features",
    "judge_silence",
    "judge_views",
    "judge_volume",
    "same_weekdays_before",
]
