"""Parity stage: whether requests were served the features that training computes for them, and if not, why.

``served`` is what the log tells of the requests of a day, ``values`` says when two values are one, ``rows`` answers
which feature row was there when, ``partitions`` when the rows themselves were made, ``causes`` names what can go wrong,
``shifts`` finds a wrong time zone, ``explaining`` gives each difference its one cause, ``counting`` adds them up.
Does not belong here: the point-in-time join (the feature store), reading tables (assets).
Upstream: predictions, the join at their times, feature rows. Downstream: the asset feature_parity.
"""

from shadow_platform.domain.parity.causes import EXPECTED, MEANING, Cause
from shadow_platform.domain.parity.counting import parity_rows
from shadow_platform.domain.parity.explaining import Comparison, Evidence, compare
from shadow_platform.domain.parity.served import COLUMNS, ServedRequests, served_requests
from shadow_platform.domain.parity.shifts import LARGEST as LARGEST_SHIFT
from shadow_platform.domain.parity.suspects import suspected_entities

__all__ = [
    "COLUMNS",
    "EXPECTED",
    "LARGEST_SHIFT",
    "MEANING",
    "Cause",
    "Comparison",
    "Evidence",
    "ServedRequests",
    "compare",
    "parity_rows",
    "served_requests",
    "suspected_entities",
]
