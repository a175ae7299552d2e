"""The training frame: requests with the features and labels that were known at a time.

Upstream: requests, feature views, labels (assets join them). Downstream: windows, fitting.
"""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import Feature


def assemble(
    requests: pd.DataFrame,
    view_values: pd.DataFrame | None,
    labels: pd.DataFrame,
    features: Sequence[Feature],
    as_of: datetime,
    keep_hidden: bool = False,
) -> pd.DataFrame:
    """Training frame of the requests whose label was known at ``as_of``, in time order, without an index.

    Args:
        requests: ``subject_id, requested_at`` and the request features; one row a request.
        view_values: features of the views, row by row as ``requests``.
        labels: ``subject_id, requested_at, label, known_at``; of several labels of a request the latest known counts.
        keep_hidden: requests without a label stay: where decisions hide labels, the labelled are not like those who
            will ask, and a drift reference made of them alone would drift by itself.
    """
    key = ["subject_id", "requested_at"]
    repeated = requests.duplicated(key)
    if repeated.any():
        first = requests.loc[repeated, key].iloc[0]
        raise UseCaseError(
            f"requests_sql returns subject {first['subject_id']!r} at {first['requested_at']} more than once "
            f"({repeated.sum()} repeated rows); expected one row a subject_id and requested_at; make the query distinct"
        )
    columns = {name: requests[name].reset_index(drop=True) for name in key}
    for feature in features:
        source = requests if feature.view is None or view_values is None else view_values
        columns[feature.name] = source[feature.name].reset_index(drop=True)
    known = labels[labels["known_at"] <= as_of].sort_values("known_at").drop_duplicates(key, keep="last")
    frame = pd.DataFrame(columns).merge(known[[*key, "label", "known_at"]], on=key, how="left", validate="1:1")
    frame = frame.astype({"label": "boolean"}) if keep_hidden else frame[frame["label"].notna()].astype({"label": bool})
    return frame.sort_values(["requested_at", "subject_id"], kind="stable").reset_index(drop=True)
