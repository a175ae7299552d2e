"""The UseCase value: everything that differs between two products, declared in one place.

Belongs here: declarations. Does not belong here: anything that runs one. Upstream: ``use_cases/<name>``. Downstream:
every factory of assets, the Feast file, the service, the shadow worker, the command line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal, Protocol

from shadow_platform.contracts.features import (
    Derivation,
    Entity,
    EventKind,
    Feature,
    FeatureKind,
    FeatureView,
    Monotone,
    Streaming,
    Topic,
)
from shadow_platform.contracts.models import Build, Choice, Estimator, ModelSpec, Parameter, Range
from shadow_platform.contracts.policies import (
    CanaryStep,
    DataQualityPolicy,
    DecisionCosts,
    DriftPolicy,
    Exploration,
    FairnessAttribute,
    FairnessPolicy,
    GatePolicy,
    PerformancePolicy,
    QualityPolicy,
    ReferencePolicy,
    RetrainPolicy,
    RolloutPolicy,
    Threshold,
    TrainingPolicy,
)
from shadow_platform.contracts.records import FeatureValue
from shadow_platform.contracts.simulation import Simulation

# Who declares a use case imports everything from here.
__all__ = [
    "ActionSpec",
    "AnswerSpec",
    "Build",
    "CanaryStep",
    "Choice",
    "ContextField",
    "ContextKind",
    "DataQualityPolicy",
    "DecisionCosts",
    "DemoPlan",
    "Derivation",
    "DriftPolicy",
    "Entity",
    "Envelope",
    "Estimator",
    "EventKind",
    "EventSource",
    "Exploration",
    "FairnessAttribute",
    "FairnessPolicy",
    "Feature",
    "FeatureKind",
    "FeatureValue",
    "FeatureView",
    "GatePolicy",
    "HiddenBy",
    "LabelPolicy",
    "ModelSpec",
    "Monotone",
    "Parameter",
    "PerformancePolicy",
    "QualityPolicy",
    "Range",
    "ReferencePolicy",
    "RetrainPolicy",
    "Role",
    "RolloutPolicy",
    "Simulation",
    "Streaming",
    "Threshold",
    "Topic",
    "TrainingPolicy",
    "UseCase",
]

ContextKind = Literal["text", "timestamp"]
Role = Literal["champion", "challenger"]
HiddenBy = Literal["platform", "others"]


@dataclass(frozen=True, slots=True)
class ContextField:
    """A required field of an envelope that says which event the request is about, and is no input of a model."""

    name: str
    description: str
    example: str
    kind: ContextKind = "text"


@dataclass(frozen=True, slots=True)
class Envelope:
    """The raw event that a request is about, as an object within the request.

    It holds the features that only a request can bring (``UseCase.request_features``), except those that are join
    keys, and its context; features of views stay beside it.

    Attributes:
        name: field of the request that holds it.
        fields: its context. A field named as the subject must equal it; a timestamp must not lie in the future.
        key: the field that identifies the event; ``requests_sql`` returns it too. A request that was answered and a
            recorded one of the same subject and key are one, whatever their clocks say.
    """

    name: str
    description: str
    fields: tuple[ContextField, ...] = ()
    key: str | None = None


@dataclass(frozen=True, slots=True)
class LabelPolicy:
    """What is predicted.

    Attributes:
        horizon: after this long every request's label is known (the cohort is matured).
        sql: DuckDB SQL over the event tables and ``requests`` (as returned by ``UseCase.requests_sql``; of a request
            that was answered, only the subject, its time, by the service's clock, and the context) with parameter
            ``$as_of``; returns ``subject_id, requested_at, label (BOOLEAN), event_at, known_at`` with
            ``known_at <= $as_of``. It sees events from the longest view lookback before the oldest request on.
        hidden_by: whose decisions keep outcomes from being seen. ``platform``: a positive prediction is carried out (a
            payment is blocked), so that its request has no label unless it was explored, whatever the SQL returns.
            ``others``: somebody else decides, with a chance that is not known (a lender rejects a loan); the SQL
            returns the labels there are. ``None``: every outcome is seen in the end.
    """

    name: str
    description: str
    horizon: timedelta
    sql: str
    hidden_by: HiddenBy | None = None


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """What the caller is told to do, as a field of the answer: a word for either decision.

    A request that is explored gets the word of a negative decision although its prediction is positive.
    """

    name: str
    negative: str
    positive: str


@dataclass(frozen=True, slots=True)
class AnswerSpec:
    """Names in the answer of ``POST /predict`` and how a probability becomes a decision.

    Attributes:
        feature_sources: whether the answer says how many features came from where.
        subject: whether the answer repeats the subject of the request.
        action: what the caller is told to do; ``None``: the prediction is the decision.
    """

    probability: str
    prediction: str
    threshold: float = 0.5
    risk_category: str | None = "risk_category"
    risk_bands: tuple[float, float] = (0.3, 0.7)
    request_id: str = "request_id"
    feature_sources: bool = True
    subject: bool = True
    action: ActionSpec | None = None


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """Recorded days that ``shadow demo`` plays: train on what is known at ``serve_from``, serve until ``serve_until``.

    Attributes:
        decide_at: day on which the gate judges; ``None``: ``serve_until``. Later where labels take their time.
    """

    serve_from: date
    serve_until: date
    decide_at: date | None = None

    @property
    def judged_at(self) -> date:
        """Day at whose start the gate judges."""
        return self.decide_at or self.serve_until


class EventSource(Protocol):
    """Where raw events come from when the platform itself fetches them."""

    def first_day(self) -> date:
        """First day with events."""

    def last_day(self) -> date:
        """Last day with events."""

    def received_on(self, day: date) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Raw rows received on a UTC day, by event kind, as JSON-ready mappings."""


@dataclass(frozen=True, slots=True)
class UseCase:
    """One product on the platform.

    Attributes:
        subject: request field that names what is predicted; labels are keyed by it and ``requested_at``.
        source: opens the event source; called only when events are landed.
        requests_sql: DuckDB SQL over the event tables with ``$start`` and ``$end``; returns ``subject_id``,
            every entity's join key, ``requested_at`` in ``[$start, $end)``, and every request feature: the spine of
            training and the body of recorded traffic. With an envelope it also returns the columns of its context
            fields; a timestamp field without a column is ``requested_at``, a field named as the subject is the subject.
        features: inputs of every model, in matrix order; names are unique.
        envelope: object of the request that holds its event; ``None``: requests are flat.
        models: the first is the initial champion, the others its challengers.
        first_partition, last_partition: first and last UTC day with events; ``None``: they go on.
        demo: recorded days for ``shadow demo``; ``None``: this use case cannot be played back.
        simulation: how its events are simulated; ``None``: they are real. ``source`` then plays its default.
        costs: what wrong decisions cost; the answer's threshold is then ``costs.threshold``.
        exploration: which positive decisions are not carried out; ``None``: all are.
        derivations: how features are computed from others when a request is answered.
        fairness: groups whose decisions are compared; ``None``: no report is made.
        quality: what a trained model must reach to become a version.
        intended_use: for whom and what its answers are meant, and for what not; stands on every model card.
        limits: what a reader of its answers must know; stands on every model card.
    """

    name: str
    title: str
    description: str
    owner: str
    subject: str
    subject_example: str
    source: Callable[[], EventSource]
    events: tuple[EventKind, ...]
    entities: tuple[Entity, ...]
    views: tuple[FeatureView, ...]
    features: tuple[Feature, ...]
    requests_sql: str
    label: LabelPolicy
    models: tuple[ModelSpec, ...]
    answer: AnswerSpec
    first_partition: date
    training: TrainingPolicy = field(default_factory=TrainingPolicy)
    drift: DriftPolicy = field(default_factory=DriftPolicy)
    data_quality: DataQualityPolicy = field(default_factory=DataQualityPolicy)
    performance: PerformancePolicy = field(default_factory=PerformancePolicy)
    gate: GatePolicy = field(default_factory=GatePolicy)
    retrain: RetrainPolicy = field(default_factory=RetrainPolicy)
    rollout: RolloutPolicy = field(default_factory=RolloutPolicy)
    last_partition: date | None = None
    demo: DemoPlan | None = None
    envelope: Envelope | None = None
    simulation: Simulation | None = None
    costs: DecisionCosts | None = None
    exploration: Exploration | None = None
    derivations: tuple[Derivation, ...] = ()
    fairness: FairnessPolicy | None = None
    quality: QualityPolicy = field(default_factory=QualityPolicy)
    intended_use: str = ""
    limits: tuple[str, ...] = ()

    @property
    def watch_span(self) -> timedelta:
        """How long the champion before is watched: the labels of the watch's last day come a label horizon later."""
        return self.rollout.watch + self.label.horizon if self.rollout.watch else timedelta(0)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names in matrix order."""
        return tuple(feature.name for feature in self.features)

    @property
    def request_features(self) -> tuple[Feature, ...]:
        """Features that only a request can bring."""
        return tuple(f for f in self.features if f.view is None and f.derivation is None)

    def view_features(self, view: str) -> tuple[Feature, ...]:
        """Features read from one view."""
        return tuple(feature for feature in self.features if feature.view == view)

    def derived_features(self, derivation: str) -> tuple[Feature, ...]:
        """Features that one derivation computes."""
        return tuple(feature for feature in self.features if feature.derivation == derivation)

    def model(self, name: str) -> ModelSpec:
        """Model family by name; raises ``KeyError`` naming the known ones."""
        for spec in self.models:
            if spec.name == name:
                return spec
        known = ", ".join(spec.name for spec in self.models)
        raise KeyError(f"model {name!r} is unknown in use case {self.name!r}; known: {known}")
