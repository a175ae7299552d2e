"""Rules of what a use case declares: names resolve, everything is described, the policies fit each other.

Belongs here: rules that need no event. Does not belong here: rules of rows. Upstream: the UseCase value. Downstream:
the contract.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from shadow_platform.contracts.use_case import Feature
from shadow_platform.domain.serving import RequestContract
from shadow_platform.testing.rules import Rules

LEAST_WORDS = 3


class DeclarationRules(Rules):
    """What is declared can be relied on."""

    def test_names_are_unique_and_references_resolve(self) -> None:
        use_case = self.use_case
        for values in (use_case.events, use_case.views, use_case.features, use_case.models):
            names = [value.name for value in values]
            assert len(names) == len(set(names))
        views = {view.name for view in use_case.views}
        assert {feature.view for feature in use_case.features} <= views | {None}
        assert {view.entity for view in use_case.views} <= {entity.join_key for entity in use_case.entities}
        assert [view for view in views if not use_case.view_features(view)] == []
        assert len(use_case.models) >= 2, "a champion needs a challenger"

    def test_everything_is_described(self) -> None:
        use_case = self.use_case
        envelope = (use_case.envelope, *use_case.envelope.fields) if use_case.envelope else ()
        described: tuple[Any, ...] = (
            *(use_case, use_case.label),
            *(*use_case.events, *use_case.entities, *use_case.views, *use_case.features, *use_case.models, *envelope),
        )
        assert [value for value in described if not value.description.strip()] == []
        assert use_case.title
        assert use_case.owner
        assert len(use_case.description.split()) >= LEAST_WORDS

    def test_numbers_have_a_unit(self) -> None:
        assert [f.name for f in self.use_case.features if f.kind == "numeric" and not f.unit] == []

    def test_the_examples_are_a_valid_request(self) -> None:
        use_case = self.use_case
        assert [f.name for f in use_case.request_features if f.example is None] == []
        body: dict[str, Any] = {entity.join_key: entity.example for entity in use_case.entities}
        body[use_case.subject] = use_case.subject_example
        given = [f for f in use_case.features if f.derivation is None and f.example is not None]
        values = {feature.name: feature.example for feature in given}
        in_event = {feature.name for feature in use_case.request_features} - body.keys()
        if use_case.envelope:
            context = {context.name: context.example for context in use_case.envelope.fields}
            event = context | {name: value for name, value in values.items() if name in in_event}
            body[use_case.envelope.name] = event
            values = {name: value for name, value in values.items() if name not in event}
        request = RequestContract(use_case).parse(body | values, datetime.now(UTC))
        assert request.subject_id == use_case.subject_example
        assert {feature.name for feature in use_case.request_features} <= request.features.keys()

    def test_ranges_are_ranges_and_examples_lie_inside(self) -> None:
        numeric = [feature for feature in self.use_case.features if feature.kind == "numeric"]
        for feature in numeric:
            assert feature.low is None or feature.high is None or feature.low < feature.high
            assert feature.example is None or is_in_range(feature, float(feature.example))

    def test_the_training_gap_covers_the_label_horizon(self) -> None:
        assert self.use_case.training.gap >= self.use_case.label.horizon

    def test_the_training_window_leaves_something_to_fit_on(self) -> None:
        policy, horizon = self.use_case.training, self.use_case.label.horizon
        behind_fit = policy.gap + policy.calibration + policy.gap + policy.evaluation + horizon
        assert policy.window > behind_fit

    def test_a_view_is_refreshed_at_whole_shares_of_a_day_and_outlives_a_refresh(self) -> None:
        for view in self.use_case.views:
            assert view.refresh > timedelta(0)
            assert timedelta(days=1) % view.refresh == timedelta(0)
            assert view.ttl >= view.refresh

    def test_policies_speak_of_features_that_exist(self) -> None:
        use_case = self.use_case
        categorical = {feature.name for feature in use_case.features if feature.kind == "categorical"}
        assert set(use_case.gate.segments) <= categorical
        assert set(use_case.drift.segments or ()) <= categorical
        assert use_case.gate.cluster in {None, "hour", "day", "subject_id", "day_and_subject", *use_case.feature_names}
        for attribute in use_case.fairness.attributes if use_case.fairness else ():
            assert attribute.feature in use_case.feature_names
            assert (attribute.feature in categorical) == (not attribute.edges)
            assert list(attribute.edges) == sorted(set(attribute.edges))

    def test_decisions_follow_from_the_costs_and_leave_room_to_explore(self) -> None:
        use_case = self.use_case
        assert 0 < use_case.answer.threshold < 1
        if use_case.costs:
            assert use_case.answer.threshold == use_case.costs.threshold
        if use_case.exploration:
            assert 0 < use_case.exploration.share < 1
            assert use_case.label.hidden_by == "platform", "only decisions that hide their outcome need to be explored"

    def test_the_demo_lies_within_the_recorded_days_and_waits_for_labels(self) -> None:
        use_case = self.use_case
        if use_case.demo is None:
            return
        served_from, served_until, judged_at = (
            use_case.demo.serve_from,
            use_case.demo.serve_until,
            use_case.demo.judged_at,
        )
        assert use_case.first_partition < served_from < served_until <= judged_at
        assert judged_at - served_from > use_case.label.horizon
        assert use_case.last_partition is None or judged_at <= use_case.last_partition + timedelta(days=1)


def is_in_range(feature: Feature, value: float) -> bool:
    """Whether a value lies in the declared range."""
    return (feature.low is None or feature.low <= value) and (feature.high is None or value <= feature.high)
