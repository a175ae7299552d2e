"""The training frame: requests with the features and labels that were known at a time.

Upstream: requests, feature views, labels (assets join them). Downstream: windows, fitting.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import Derivation, Feature, FeatureValue


def assemble(
    requests: pd.DataFrame,
    view_values: pd.DataFrame | None,
    labels: pd.DataFrame,
    features: Sequence[Feature],
    as_of: datetime,
    keep_hidden: bool = False,
    derivations: Sequence[Derivation] = (),
) -> pd.DataFrame:
    """Training frame of the requests whose label was known at ``as_of``, in time order, without an index.

    Args:
        requests: ``subject_id, requested_at`` and the request features; one row a request.
        view_values: features of the views, row by row as ``requests``.
        labels: ``subject_id, requested_at, label, known_at``; of several labels of a request the latest known counts.
        keep_hidden: requests without a label stay: where decisions hide labels, the labelled are not like those who
            will ask, and a drift reference made of them alone would drift by itself.
        derivations: compute the derived ones among the features, row by row, as for an answer.

    Raises:
        UseCaseError: a request is there twice, or a derivation fails.
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
        if feature.derivation is None:
            source = requests if feature.view is None or view_values is None else view_values
            columns[feature.name] = source[feature.name].reset_index(drop=True)
    known = labels[labels["known_at"] <= as_of].sort_values("known_at").drop_duplicates(key, keep="last")
    frame = pd.DataFrame(columns).merge(known[[*key, "label", "known_at"]], on=key, how="left", validate="1:1")
    frame = frame.astype({"label": "boolean"}) if keep_hidden else frame[frame["label"].notna()].astype({"label": bool})
    frame = frame.sort_values(["requested_at", "subject_id"], kind="stable").reset_index(drop=True)
    for derivation in derivations:
        own = [feature for feature in features if feature.derivation == derivation.name]
        frame = frame.assign(**derived_columns(derivation, own, frame))
    return frame[[*key, *(feature.name for feature in features), "label", "known_at"]]


def derived_columns(
    derivation: Derivation, features: Sequence[Feature], frame: pd.DataFrame
) -> dict[str, "pd.Series[Any]"]:
    """The derivation's features as columns; raises ``UseCaseError`` with the values it fails for.

    An answer goes on without them. A model is not trained on what a failing function left out.
    """
    given = frame[list(derivation.inputs)].astype(object)
    rows = given.where(given.notna(), None).itertuples(index=False, name=None)
    found: dict[str, list[FeatureValue]] = {feature.name: [] for feature in features}
    for row in rows:
        values = dict(zip(derivation.inputs, row, strict=True))
        derived, problem = derivation.derive(features, values)
        if problem is not None:
            raise UseCaseError(
                f"derivation {derivation.name!r} fails for {values} ({problem}); it must return None instead"
            )
        for name, value in derived.items():
            found[name].append(value)
    types = {feature.name: "float64" if feature.kind == "numeric" else "object" for feature in features}
    return {name: pd.Series(values, frame.index, dtype=types[name]) for name, values in found.items()}
