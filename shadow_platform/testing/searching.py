"""Rules of what training may choose of a model: hyperparameters, steps, directions.

Belongs here: that what is declared exists and can be fitted. Does not belong here: whether a search finds anything.
Upstream: ModelSpec values. Downstream: the contract.
"""

import numpy as np
import pytest

from shadow_platform.contracts.use_case import Choice, Parameter
from shadow_platform.testing.models import N_LEVELS, N_ROWS, random_matrix
from shadow_platform.testing.rules import Rules


class SearchRules(Rules):
    """A search cannot fail half-way through its budget for what was declared."""

    def test_a_search_starts_from_hyperparameters_that_the_model_has(self) -> None:
        for spec in self.use_case.models:
            known = spec.hyperparameters
            assert {*spec.search, *({spec.iterations} - {None})} <= known.keys(), spec.name
            for name, allowed in spec.search.items():
                value = known[name]
                if isinstance(allowed, Choice):
                    assert value in allowed.values, (spec.name, name)
                else:
                    assert allowed.low <= float(value) <= allowed.high, (spec.name, name)

    @pytest.mark.parametrize("end", [0, -1], ids=["low", "high"])
    def test_both_ends_of_a_search_can_be_fitted(self, end: int) -> None:
        features = self.use_case.features
        n_levels = {feature.name: N_LEVELS for feature in features if feature.kind == "categorical"}
        matrix = random_matrix(features, N_ROWS, seed=0)
        target = matrix.sum(axis=1) > np.median(matrix.sum(axis=1))
        for spec in self.use_case.models:
            chosen: dict[str, Parameter] = {}
            for name, allowed in spec.search.items():
                values = allowed.values if isinstance(allowed, Choice) else (allowed.low, allowed.high)
                is_integer = not isinstance(allowed, Choice) and allowed.is_integer
                chosen[name] = int(values[end]) if is_integer else values[end]
            fitted = spec.build(features, n_levels, 5, **{**spec.parameters, **chosen}).fit(matrix, target)
            assert np.isfinite(fitted.predict_proba(matrix)).all(), spec.name

    def test_a_direction_is_declared_of_numbers_only(self) -> None:
        assert [f.name for f in self.use_case.features if f.monotone and f.kind != "numeric"] == []
