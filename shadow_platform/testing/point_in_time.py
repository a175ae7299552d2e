"""Rules of a use case's SQL: nothing it returns rests on what was received later, and every part fits the others.

Belongs here: rules of requests, feature rows and labels. Does not belong here: rules of raw rows. Upstream:
small_world. Downstream: the contract.
"""

import re
from datetime import timedelta

import pandas as pd
import pytest

from shadow_platform.contracts.use_case import Feature, FeatureView
from shadow_platform.testing.declarations import is_in_range
from shadow_platform.testing.rules import Rules
from shadow_platform.testing.small_world import SmallWorld
from shadow_platform.testing.tables import Tables, before, between, labels_of, requests_of

DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)
KEY = ["subject_id", "requested_at"]
MIN_REACHED_SHARE = 0.01
# The order in which a database adds up floats is not fixed; models take float32, which knows no more.
FLOAT_TOLERANCE = 1e-7
ENTITIES_ALONE = 20
LABEL_COLUMNS = {*KEY, "label", "event_at", "known_at"}


class RequestRules(Rules):
    """The spine of training and of recorded traffic."""

    def test_requests_bring_every_key_and_request_feature(self, world: SmallWorld) -> None:
        requests = requests_of(self.use_case, world.tables, world.start + DAY, world.end)
        needed = {*KEY, *(entity.join_key for entity in self.use_case.entities)}
        brought = needed | {feature.name for feature in self.use_case.request_features}
        context = {field.name for field in self.use_case.envelope.fields} if self.use_case.envelope else set()
        assert brought <= set(requests.columns) <= brought | context
        assert len(requests) > 0
        assert requests["requested_at"].between(world.start + DAY, world.end, inclusive="left").all()
        assert not requests.duplicated(KEY).any()
        assert requests[sorted(needed)].notna().all(axis=None)
        assert (requests[sorted(needed - {"requested_at"})] != "").all(axis=None)

    def test_an_event_is_named_by_the_key_of_its_envelope_and_asked_about_once(self, world: SmallWorld) -> None:
        envelope = self.use_case.envelope
        if envelope is None or envelope.key is None:
            return
        assert envelope.key in {field.name for field in envelope.fields if field.kind == "text"}
        assert world.requests[envelope.key].notna().all()
        assert not world.requests.duplicated(["subject_id", envelope.key]).any()

    def test_request_features_lie_in_the_declared_range(self, world: SmallWorld) -> None:
        for feature in self.use_case.request_features:
            _check_values(feature, world.requests[feature.name])

    def test_requests_do_not_change_by_what_is_received_later(self, world: SmallWorld) -> None:
        cutoff = world.edge + timedelta(hours=20)
        then = requests_of(self.use_case, before(world.tables, cutoff), world.start, cutoff + INSTANT)
        later = world.requests[world.requests["requested_at"] <= cutoff]
        _same(then.sort_values(KEY), later.sort_values(KEY))


class ViewRules(Rules):
    """Feature rows, each as it could be known at its stamp."""

    def test_view_rows_are_unique_and_stamped_at_multiples_of_the_refresh(self, world: SmallWorld) -> None:
        for view in self.use_case.views:
            rows = world.view_rows[view.name]
            names = [feature.name for feature in self.use_case.view_features(view.name)]
            assert sorted(rows.columns) == sorted([view.entity, "event_at", "created_at", *names])
            assert len(rows) > 0
            assert not rows.duplicated([view.entity, "event_at"]).any()
            assert (rows["event_at"] > world.start).all()
            assert (rows["event_at"] <= world.end).all()
            assert (rows["created_at"] >= rows["event_at"]).all()
            if view.streaming is None:
                assert (rows["event_at"] == rows["event_at"].dt.floor(pd.Timedelta(view.refresh))).all()

    def test_a_streamed_view_says_of_an_entity_the_same_from_its_events_alone(self, world: SmallWorld) -> None:
        streamed = [kind for kind in self.use_case.events if kind.topic is not None]
        for view in (view for view in self.use_case.views if view.streaming is not None):
            for kind in self.use_case.events:
                assert kind in streamed or not re.search(rf"\b{kind.name}\b", view.sql), f"{kind.name} has no topic"
            rows = world.view_rows[view.name]
            some = set(rows[view.entity].drop_duplicates().iloc[:ENTITIES_ALONE])
            alone = {kind.name: _of(world.tables[kind.name], view.entity, some) for kind in streamed}
            part = world.run_view(view, alone, world.start, world.end)
            _same(part, _of(rows, view.entity, some))
            assert set(zip(part[view.entity], part["event_at"], strict=True)) <= _changes(alone, view)

    def test_view_features_lie_in_the_declared_range(self, world: SmallWorld) -> None:
        for view in self.use_case.views:
            for feature in self.use_case.view_features(view.name):
                _check_values(feature, world.view_rows[view.name][feature.name])

    @pytest.mark.parametrize("alignment", [timedelta(0), timedelta(minutes=25, seconds=13)])
    def test_a_window_alone_with_its_lookback_gives_the_rows_of_the_whole(
        self, world: SmallWorld, alignment: timedelta
    ) -> None:
        for view in self.use_case.views:
            whole = world.view_rows[view.name]
            for day in _days_with_rows(whole, world.end - DAY):
                start, end = day + alignment, day + DAY + alignment
                part = world.run_view(view, between(world.tables, start - view.lookback, end), start, end)
                expected = whole[(whole["event_at"] > start) & (whole["event_at"] <= end)]
                assert len(part) > 0
                _same(part, expected)

    @pytest.mark.parametrize("into_the_hour", [timedelta(0), timedelta(minutes=37)])
    def test_feature_rows_do_not_change_by_what_is_received_later(
        self, world: SmallWorld, into_the_hour: timedelta
    ) -> None:
        cutoff = world.edge + timedelta(hours=20) + into_the_hour
        for view in self.use_case.views:
            later = world.view_rows[view.name]
            then = world.run_view(view, before(world.tables, cutoff), world.start, cutoff)
            assert len(then) > 0
            _same(then, later[later["event_at"] <= cutoff])

    def test_every_feature_of_a_view_reaches_requests_within_its_ttl(self, world: SmallWorld) -> None:
        latest = world.requests[world.requests["requested_at"] >= world.edge - DAY].sort_values("requested_at")
        assert len(latest) > 0
        for view in self.use_case.views:
            joined = _as_of(latest[["requested_at", view.entity]], world.view_rows[view.name], view)
            brought = joined[[feature.name for feature in self.use_case.view_features(view.name)]].notna().mean()
            assert (brought >= MIN_REACHED_SHARE).all(), f"{view.name} hardly reaches a request: {brought.to_dict()}"


class LabelRules(Rules):
    """The truth, when it could be known."""

    def test_labels_known_then_do_not_change_by_what_is_received_later(self, world: SmallWorld) -> None:
        as_of = world.edge + timedelta(hours=17, minutes=23)
        requests = requests_of(self.use_case, world.tables, world.start + DAY, as_of)
        then = labels_of(self.use_case, before(world.tables, as_of), requests, as_of)
        later = labels_of(self.use_case, world.tables, requests, as_of + self.use_case.label.horizon)
        assert len(then) > 0
        _same(then.sort_values(KEY), later[later["known_at"] <= as_of].sort_values(KEY))

    def test_every_request_has_one_label_once_the_horizon_has_passed(self, world: SmallWorld) -> None:
        horizon = self.use_case.label.horizon
        requests = requests_of(self.use_case, world.tables, world.start + DAY, world.end - horizon)
        labels = labels_of(self.use_case, world.tables, requests, world.end)
        assert set(labels.columns) == LABEL_COLUMNS
        labelled, asked = _keys(labels), _keys(requests)
        assert len(labelled) == len(set(labelled))
        if self.use_case.label.hidden_by:
            assert set(labelled) <= set(asked)
        else:
            assert sorted(labelled) == sorted(asked)
        assert labels["label"].dtype == bool
        assert set(labels["label"]) == {True, False}
        assert (labels["known_at"] > labels["requested_at"]).all()
        assert (labels["known_at"] <= labels["requested_at"] + horizon).all()
        assert (labels["event_at"] <= labels["known_at"]).all()


def _check_values(feature: Feature, values: "pd.Series[float]") -> None:
    present = values.dropna()
    assert len(present) > 0, f"{feature.name} has no value"
    if feature.kind == "categorical":
        assert present.map(lambda value: isinstance(value, str)).all(), feature.name
        return
    assert present.dtype.kind in "fiu", feature.name
    assert is_in_range(feature, float(present.min())), f"{feature.name} falls to {present.min()}"
    assert is_in_range(feature, float(present.max())), f"{feature.name} rises to {present.max()}"


def _days_with_rows(rows: pd.DataFrame, end: pd.Timestamp) -> list[pd.Timestamp]:
    """Starts of two days in whose half-open window ``(start, start + 1 day]`` rows are stamped, the last before end."""
    days = sorted(set((rows["event_at"] - INSTANT).dt.floor("D")))
    inside = [day for day in days if day + DAY <= end]
    return [inside[len(inside) // 2], inside[-1]]


def _as_of(requests: pd.DataFrame, rows: pd.DataFrame, view: FeatureView) -> pd.DataFrame:
    """The latest row of the entity at every request, none older than the view's time to live."""
    return pd.merge_asof(
        requests,
        rows,
        left_on="requested_at",
        right_on="event_at",
        by=view.entity,
        tolerance=pd.Timedelta(view.ttl),
        suffixes=("", "_of_view"),
    )


def _of(frame: pd.DataFrame, entity: str, some: set[str]) -> pd.DataFrame:
    return frame[frame[entity].isin(some)]


def _changes(events: Tables, view: FeatureView) -> set[tuple[str, pd.Timestamp]]:
    """Entities with the instants at which a row of a streamed view may be stamped."""
    assert view.streaming is not None
    return {
        (entity, received_at + stay + step)
        for frame in events.values()
        for entity, received_at in zip(frame[view.entity], frame["received_at"], strict=True)
        for stay in (timedelta(0), *view.streaming.leaves_after)
        for step in (timedelta(0), INSTANT)
    }


def _keys(frame: pd.DataFrame) -> list[tuple[str, pd.Timestamp]]:
    return list(frame[KEY].itertuples(index=False, name=None))


def _same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    left, right = left.reset_index(drop=True), right.reset_index(drop=True)
    pd.testing.assert_frame_equal(left, right, rtol=FLOAT_TOLERANCE, atol=0.0)
