"""What a use case declares of its events and features: kinds, entities, views, features, derivations, streams.

Belongs here: declarations, and the one way in which a derivation is computed. Does not belong here: the value that
gathers them (``use_case``), and computing anything else.
Upstream: ``use_cases/<name>``, which imports these from ``use_case``. Downstream: ``use_case``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NamedTuple

from shadow_platform.contracts.records import FeatureValue

FeatureKind = Literal["numeric", "categorical"]
Monotone = Literal["increasing", "decreasing"]

FLOAT32_MAX = 3.4028234663852886e38
"""Models compute in float32; a larger number would become infinite."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A Kafka topic that brings events of one kind, one JSON object a message.

    An event is received when its message was stamped: by the broker (``LogAppendTime``), by the producer in a replay.

    Attributes:
        name: of the topic; messages that are no events go to ``<name>.dead-letter``.
        key: column of the event that is the message's key, so that one entity's events stay in order.
    """

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Streaming:
    """That a view is brought online from the stream, by the view's own SQL over the events of the entities it touches.

    Attributes:
        leaves_after: the SQL makes a row of an entity at an event, and once more so long after it, when the event
            leaves a window.
    """

    leaves_after: tuple[timedelta, ...] = ()


@dataclass(frozen=True, slots=True)
class EventKind:
    """One kind of raw event.

    Attributes:
        name: table name the SQL of the use case sees.
        schema: a ``pandera.DataFrameSchema`` of the payload plus ``event_id, event_at, received_at`` (UTC).
        schema_version: the only version accepted in a raw row's ``schema_version``.
        topic: Kafka topic that brings them when a broker is configured; ``None``: files only.
        key: columns that identify an event; a second row with the same key is quarantined as a duplicate.
    """

    name: str
    description: str
    schema: Any
    key: tuple[str, ...] = ("event_id",)
    schema_version: int = 1
    topic: Topic | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """A thing that features describe; ``join_key`` is a field of the request."""

    join_key: str
    description: str
    example: str


@dataclass(frozen=True, slots=True)
class FeatureView:
    """Feature rows of one entity, computed from events by SQL.

    Attributes:
        entity: join key of the entity described.
        ttl: a row older than this at request time counts as missing, offline and online.
        lookback: how far before a row's ``event_at`` the SQL reads events.
        sql: DuckDB SQL over one table per event kind (columns as in its schema), with parameters ``$start`` and
            ``$end``; returns ``<join_key>, event_at, created_at`` and the view's features for
            ``$start < event_at <= $end``, using nothing received after ``event_at``.
        refresh: rows are stamped at multiples of this since 1970, except in a view that is streamed.
        streaming: how the stream keeps it current online; every event kind the SQL reads then has a topic. ``None``: by
            materialization only.
    """

    name: str
    entity: str
    ttl: timedelta
    lookback: timedelta
    sql: str
    description: str
    refresh: timedelta = timedelta(hours=1)
    streaming: Streaming | None = None


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of the models.

    Attributes:
        view: feature view it is read from; ``None``: comes with the request, or is derived.
        derivation: what computes it from other features; no request may bring it and no store holds it.
        low, high: closed range outside which a request is refused; ``None`` means unbounded.
        is_monitored: whether it counts in drift rules 1, 2, 4 and 5, and by new levels in rule 6; not for features that
            follow the calendar.
        monotone: direction in which alone the probability may move with it, all else equal; numeric features only.
            ``None``: any. Families of trees obey it; a linear one is measured against it.
    """

    name: str
    description: str
    kind: FeatureKind = "numeric"
    unit: str = ""
    view: str | None = None
    derivation: str | None = None
    low: float | None = None
    high: float | None = None
    example: float | int | str | None = None
    is_monitored: bool = True
    monotone: Monotone | None = None


class Derived(NamedTuple):
    """What a derivation made of one request.

    Attributes:
        values: of each of its features; ``None`` where there is none.
        problem: why the derivation failed for these inputs; ``None``: it did not.
    """

    values: dict[str, FeatureValue]
    problem: str | None


@dataclass(frozen=True, slots=True)
class Derivation:
    """Features computed from others when a request is answered: the same function in training, serving and Feast.

    Attributes:
        name: of the on-demand view in Feast.
        inputs: features it reads, brought by the request or read from a view; none that is derived.
        compute: is given each input by name (``None`` where there is no value) and returns a value for each of its
            features (``None``: to be imputed). Pure; it raises for no combination of values.
    """

    name: str
    description: str
    inputs: tuple[str, ...]
    compute: Callable[..., Mapping[str, FeatureValue]]

    def derive(self, features: Sequence[Feature], values: Mapping[str, Any]) -> Derived:
        """Values of its features; never raises.

        Whoever gives the values, ``compute`` sees the same: numbers are floats, NaN and infinities are ``None``.

        Args:
            features: those of the use case that it computes.
            values: of features by name; one that is absent is ``None``.
        """
        try:
            computed = self.compute(**{name: _given(values.get(name)) for name in self.inputs})
            derived = {feature.name: _made(feature, computed[feature.name]) for feature in features}
            if len(computed) > len(derived):
                raise ValueError(f"returned {sorted(computed)}; expected {sorted(derived)}")
        except Exception as error:  # noqa: BLE001 - whatever a derivation does, the request is answered
            return Derived({feature.name: None for feature in features}, f"{type(error).__name__}: {error}")
        return Derived(derived, None)


def _given(value: Any) -> FeatureValue:
    if value is None or isinstance(value, str):
        return value
    return float(value) if -FLOAT32_MAX <= value <= FLOAT32_MAX else None


def _made(feature: Feature, value: Any) -> FeatureValue:
    if value is None or (feature.kind == "categorical" and isinstance(value, str)):
        return value
    if feature.kind == "numeric" and not isinstance(value, str) and -FLOAT32_MAX <= value <= FLOAT32_MAX:
        return float(value)
    expected = "a finite number" if feature.kind == "numeric" else "a string"
    raise ValueError(f"{feature.name} is {value!r}; expected {expected} or None")
