"""Log records survive the codec they are written with, and cannot be changed after the fact."""

import dataclasses
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.records import (
    SCHEMA_VERSION,
    ModelAnswer,
    PredictionRecord,
    QuarantinedEvent,
    ShadowRecord,
    SourceOffset,
    TransitionRecord,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
number = st.floats(allow_nan=False, allow_infinity=False)
values = st.one_of(st.none(), number, st.integers(-(2**53), 2**53), text, st.booleans())

answers = st.builds(
    ModelAnswer,
    probability=st.none() | number,
    prediction=st.none() | st.booleans(),
    latency_ms=st.none() | number,
    model_version=text,
    error=st.none() | text,
)
offsets = st.builds(SourceOffset, segment=text, end=st.integers(0, 2**53))
predictions = st.builds(
    PredictionRecord,
    request_id=text,
    use_case=text,
    subject_id=text,
    entities=st.dictionaries(text, text, max_size=3),
    requested_at=text,
    logged_at=text,
    features=st.dictionaries(text, values, max_size=5),
    feature_sources=st.dictionaries(text, st.integers(0, 100), max_size=3),
    feature_age_s=st.none() | number,
    model_version=text,
    bundle_hash=text,
    variant=st.sampled_from(["champion", "canary"]),
    propensity=number,
    probability=number,
    prediction=st.booleans(),
    threshold=number,
    latency_ms=number,
    context=st.dictionaries(text, text, max_size=3),
)
shadows = st.builds(
    ShadowRecord,
    request_id=text,
    use_case=text,
    subject_id=text,
    requested_at=text,
    compared_at=text,
    outcome=st.sampled_from(["compared", "failed", "dropped"]),
    champion=answers,
    challenger=answers,
    source=offsets,
    drop_reason=st.none() | text,
    probability_diff=st.none() | number,
    prediction_match=st.none() | st.booleans(),
    is_replay=st.booleans(),
)
transitions = st.builds(
    TransitionRecord,
    transition_id=text,
    use_case=text,
    alias=text,
    from_version=st.none() | text,
    to_version=st.none() | text,
    actor=text,
    reason=text,
    evidence_id=st.none() | text,
    generation=st.integers(0, 2**53),
    transitioned_at=text,
)
quarantined = st.builds(
    QuarantinedEvent,
    kind=text,
    file=text,
    row=st.integers(1, 2**31),
    column=st.none() | text,
    reason=text,
    payload=text,
)


@given(st.one_of(predictions, shadows, transitions, quarantined))
def test_a_record_is_one_line_and_reads_back_as_written(record: Any) -> None:
    line = orjson.dumps(record)

    assert b"\n" not in line
    assert orjson.loads(line) == dataclasses.asdict(record)


@given(shadows)
def test_a_shadow_record_can_be_rebuilt_from_its_line(record: ShadowRecord) -> None:
    fields = orjson.loads(orjson.dumps(record))
    nested = {
        "champion": ModelAnswer(**fields["champion"]),
        "challenger": ModelAnswer(**fields["challenger"]),
        "source": SourceOffset(**fields["source"]),
    }

    assert ShadowRecord(**{**fields, **nested}) == record


@pytest.mark.parametrize("kind", [PredictionRecord, ShadowRecord, TransitionRecord])
def test_every_logged_record_carries_the_schema_version_last(kind: type) -> None:
    last = dataclasses.fields(kind)[-1]

    assert (last.name, last.default) == ("schema_version", SCHEMA_VERSION)


@pytest.mark.parametrize("kind", [PredictionRecord, ModelAnswer, SourceOffset, ShadowRecord, TransitionRecord])
def test_a_record_is_frozen_and_has_no_room_for_more(kind: Any) -> None:
    assert kind.__dataclass_params__.frozen
    assert "__dict__" not in dir(kind)
