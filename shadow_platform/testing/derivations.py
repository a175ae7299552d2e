"""Rules of derivations: functions that can be relied on with any values, and are the same in training and serving.

Belongs here: rules of what is computed from a request's other features. Does not belong here: rules of views. Upstream:
small_world, the serving and training stages. Downstream: the contract.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import product
from random import Random

import pandas as pd

from shadow_platform.contracts.features import FLOAT32_MAX
from shadow_platform.contracts.ports import OnlineRow
from shadow_platform.contracts.use_case import Derivation, Feature, FeatureValue
from shadow_platform.domain import training
from shadow_platform.domain.serving import RequestContract, ServedFeatures, ValidRequest
from shadow_platform.testing.declarations import is_in_range
from shadow_platform.testing.point_in_time import KEY
from shadow_platform.testing.rules import Rules
from shadow_platform.testing.small_world import SmallWorld

MAX_COMBINATIONS = 5_000
MAX_REQUESTS = 500
LONGEST_TEXT = 256
SEED = 0


class DerivationRules(Rules):
    """Derived features are the same wherever they are computed."""

    def test_derivations_read_features_that_are_given_and_make_features_of_their_own(self) -> None:
        use_case = self.use_case
        given = {feature.name for feature in use_case.features if feature.derivation is None}
        names = [derivation.name for derivation in use_case.derivations]
        in_feast = [*names, *(view.name for view in use_case.views)]
        assert len(in_feast) == len(set(in_feast)), "Feast needs a name for each view and derivation"
        for derivation in use_case.derivations:
            assert derivation.description.strip()
            assert set(derivation.inputs) <= given, f"{derivation.name} reads what no request or view brings"
            assert len(set(derivation.inputs)) == len(derivation.inputs) > 0, (
                f"{derivation.name} reads nothing, or twice"
            )
            assert use_case.derived_features(derivation.name), f"{derivation.name} makes no feature"
        derived = [feature for feature in use_case.features if feature.derivation is not None]
        assert {feature.derivation for feature in derived} == set(names)
        assert [feature.name for feature in derived if feature.view is not None] == []

    def test_a_derivation_gives_each_of_its_features_for_any_values_and_always_the_same(self) -> None:
        for derivation in self.use_case.derivations:
            features = self.use_case.derived_features(derivation.name)
            for values in _combinations(self.use_case.features, derivation):
                found = derivation.derive(features, values)
                assert found.problem is None, f"{derivation.name} of {values}: {found.problem}"
                assert found == derivation.derive(features, values), f"{derivation.name} of {values} changes"

    def test_training_and_serving_derive_the_same_values_within_the_declared_range(self, world: SmallWorld) -> None:
        use_case, contract = self.use_case, RequestContract(self.use_case)
        requests = _with_view_values(world)
        labels = requests[KEY].assign(label=False, known_at=world.end)
        frame = training.assemble(
            requests, requests, labels, use_case.features, world.end.to_pydatetime(), derivations=use_case.derivations
        )
        derived = [feature for feature in use_case.features if feature.derivation is not None]
        assert frame[[feature.name for feature in derived]].notna().any().all(), "a derived feature has no value"
        for row in frame.to_dict("records"):
            served = _served(contract, {str(name): value for name, value in row.items()})
            for feature in derived:
                value = served.values[feature.name]
                assert value == _plain(row[feature.name]), f"{feature.name} of {row}"
                assert not isinstance(value, float) or is_in_range(feature, value), f"{feature.name} of {row}"


def _combinations(features: tuple[Feature, ...], derivation: Derivation) -> Iterator[dict[str, FeatureValue]]:
    """Every combination of the inputs' extreme values, or that many of them at random."""
    by_name = {feature.name: feature for feature in features}
    extremes = {name: _extremes(by_name[name]) for name in derivation.inputs}
    if math.prod(map(len, extremes.values())) <= MAX_COMBINATIONS:
        yield from (dict(zip(extremes, values, strict=True)) for values in product(*extremes.values()))
        return
    chance = Random(SEED)
    for _ in range(MAX_COMBINATIONS):
        yield {name: chance.choice(values) for name, values in extremes.items()}


def _extremes(feature: Feature) -> list[FeatureValue]:
    if feature.kind == "categorical":
        return [None, feature.example, "", "x" * LONGEST_TEXT]
    low = -FLOAT32_MAX if feature.low is None else feature.low
    high = FLOAT32_MAX if feature.high is None else feature.high
    numbers = (low, math.nextafter(low, high), 0.0, -0.0, 5e-324, 1.0, math.nextafter(high, low), high)
    return [None, feature.example, *dict.fromkeys(number for number in numbers if low <= number <= high)]


def _with_view_values(world: SmallWorld) -> pd.DataFrame:
    """Requests spread over the last days, with the latest feature values of each view, of whatever age."""
    latest = world.requests[world.requests["requested_at"] >= world.end - timedelta(days=5)]
    found = latest.sample(min(MAX_REQUESTS, len(latest)), random_state=SEED).sort_values("requested_at")
    for view in world.use_case.views:
        names = [feature.name for feature in world.use_case.view_features(view.name)]
        rows = world.view_rows[view.name][[view.entity, "event_at", *names]]
        found = pd.merge_asof(found, rows, left_on="requested_at", right_on="event_at", by=view.entity)
        found = found.drop(columns="event_at")
    return found.reset_index(drop=True)


def _served(contract: RequestContract, row: Mapping[str, object]) -> ServedFeatures:
    """What a request with the row's request features is served when the store holds the row's view features."""
    use_case, at = contract.use_case, pd.Timestamp(str(row["requested_at"])).to_pydatetime()
    brought = {f.name: value for f in use_case.request_features if (value := _plain(row[f.name])) is not None}
    online = {
        view.name: OnlineRow({f.name: _plain(row[f.name]) for f in use_case.view_features(view.name)}, at)
        for view in use_case.views
    }
    return contract.assemble(ValidRequest(str(row["subject_id"]), {}, brought), online, at)


def _plain(value: object) -> float | int | str | None:
    """A frame's value as a request or a store holds it."""
    return None if value is None or value != value else value  # type: ignore[return-value]
