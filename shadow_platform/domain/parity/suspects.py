"""Whose rows an explanation needs: entities of requests that were served another value than training computes.

Upstream: served and offline values. Downstream: the asset, which reads those rows; ``explaining``.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from shadow_platform.contracts.use_case import FeatureView, UseCase
from shadow_platform.domain.parity.served import ServedRequests
from shadow_platform.domain.parity.values import Mask, as_values, differs


def differing(use_case: UseCase, view: FeatureView, served: ServedRequests, offline: pd.DataFrame) -> dict[str, Mask]:
    """Feature of the view -> where its values differ and the request did not bring its own."""
    return {
        feature.name: ~served.overridden[feature.name]
        & differs(served.values[feature.name], as_values(offline[feature.name].to_numpy(), feature.kind))
        for feature in use_case.view_features(view.name)
    }


def suspected_entities(use_case: UseCase, served: ServedRequests, offline: pd.DataFrame) -> Mapping[str, set[str]]:
    """View -> entities with a differing value; views without a difference are absent."""
    found = {}
    for view in use_case.views:
        differences = differing(use_case, view, served, offline)
        is_suspect = np.any(list(differences.values()), axis=0) if differences else np.zeros(len(served), dtype=bool)
        if is_suspect.any():
            found[view.name] = set(served.asked.loc[is_suspect, view.entity].dropna())
    return found
