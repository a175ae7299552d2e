"""Fingerprints see every ingredient of a bundle, and nothing else: no order of names, no clock, no process."""

import subprocess
import sys
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.lake.parquet import read_frame, write_frame
from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.lineage import PartitionSnapshot
from shadow_platform.contracts.use_case import DecisionCosts, FeatureView, QualityPolicy, UseCase
from shadow_platform.domain import training
from shadow_platform_tests.tiny import USE_CASE

VIEW, SPEC = USE_CASE.views[0], USE_CASE.models[0]
CODE, ENVIRONMENT = {"sources": {"a.py": "1"}, "build": "b"}, {"python": "3.11", "numpy": "2"}
PARAMETERS = {"C": 0.1, "max_iter": 100}
AS_OF = datetime(2024, 2, 1, tzinfo=UTC)


def _fingerprints(use_case: UseCase = USE_CASE, **changes: Any) -> dict[str, str]:
    values: dict[str, Any] = {"spec": SPEC, "parameters": PARAMETERS, "seed": 0, "as_of": AS_OF}
    values |= {"data": "d", "code": CODE, "environment": ENVIRONMENT}
    return training.bundle_fingerprints(use_case, **{**values, **changes})


def _with_view(**changes: Any) -> UseCase:
    return replace(USE_CASE, views=(replace(VIEW, **changes),))


def _with_feature(**changes: Any) -> UseCase:
    return replace(USE_CASE, features=(replace(USE_CASE.features[0], **changes), *USE_CASE.features[1:]))


DECLARED = {
    "sql of a view": _with_view(sql=VIEW.sql + " "),
    "time to live": _with_view(ttl=VIEW.ttl + timedelta(seconds=1)),
    "lookback": _with_view(lookback=VIEW.lookback * 2),
    "kind of a feature": _with_feature(kind="categorical"),
    "view of a feature": _with_feature(view=VIEW.name),
    "direction of a feature": _with_feature(monotone="increasing"),
    "order of features": replace(USE_CASE, features=USE_CASE.features[::-1]),
    "requests": replace(USE_CASE, requests_sql=USE_CASE.requests_sql + " "),
    "sql of the label": replace(USE_CASE, label=replace(USE_CASE.label, sql="SELECT 1")),
    "horizon": replace(USE_CASE, label=replace(USE_CASE.label, horizon=timedelta(hours=25))),
}
CONFIGURED: dict[str, dict[str, Any]] = {
    "window": {"use_case": replace(USE_CASE, training=replace(USE_CASE.training, window=timedelta(days=20)))},
    "weight": {"use_case": replace(USE_CASE, training=replace(USE_CASE.training, positive_weight="balanced"))},
    "threshold": {"use_case": replace(USE_CASE, answer=replace(USE_CASE.answer, threshold=0.4))},
    "costs": {"use_case": replace(USE_CASE, costs=DecisionCosts(1.0, 1.0, "EUR"))},
    "quality": {"use_case": replace(USE_CASE, quality=QualityPolicy(min_roc_auc=0.6))},
    "words on the card": {"use_case": replace(USE_CASE, intended_use="For nobody")},
    "segments": {"use_case": replace(USE_CASE, gate=replace(USE_CASE.gate, segments=()))},
    "family": {"spec": replace(SPEC, name="other")},
    "a value of a parameter": {"parameters": {**PARAMETERS, "C": 0.2}},
    "type of a parameter": {"parameters": {**PARAMETERS, "max_iter": 100.0}},
    "one parameter more": {"parameters": {**PARAMETERS, "tol": 1e-4}},
    "seed": {"seed": 1},
    "one instant later": {"as_of": AS_OF + timedelta(microseconds=1)},
}


@pytest.mark.parametrize("what", DECLARED)
def test_a_changed_declaration_of_features_changes_their_fingerprint_alone(what: str) -> None:
    assert _changed(_fingerprints(DECLARED[what])) == {"features"}


@pytest.mark.parametrize("what", CONFIGURED)
def test_a_changed_configuration_changes_its_fingerprint_alone(what: str) -> None:
    assert _changed(_fingerprints(**CONFIGURED[what])) == {"configuration"}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("data", {"data": "e"}),
        ("code", {"code": {**CODE, "build": "c"}}),
        ("code", {"code": {**CODE, "sources": {"a.py": "2"}}}),
        ("environment", {"environment": {**ENVIRONMENT, "numpy": "3"}}),
    ],
)
def test_frame_code_and_environment_have_their_own_fingerprint(name: str, changes: dict[str, Any]) -> None:
    assert _changed(_fingerprints(**changes)) == {name}


def _changed(found: dict[str, str]) -> set[str]:
    before = _fingerprints()
    return {name for name in before if found[name] != before[name]}


def test_names_have_no_order() -> None:
    second = FeatureView("second", "visitor_id", VIEW.ttl, VIEW.lookback, "SELECT 2", "Second")
    two = replace(USE_CASE, views=(VIEW, second))
    turned = dict(reversed(PARAMETERS.items()))

    assert _fingerprints(replace(two, views=(second, VIEW)), parameters=turned) == _fingerprints(two)


def test_every_other_process_finds_the_same(tmp_path: Path) -> None:
    script = (
        "from shadow_platform_tests.domain.training.test_fingerprints import _fingerprints, training\n"
        "print(sorted(_fingerprints().items()), training.fingerprint({'levels': frozenset('abcdefgh')}))"
    )
    root = Path(__file__).parents[3]
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root), "TZ": zone},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Pacific/Auckland"))
    }

    assert said == {f"{sorted(_fingerprints().items())} {training.fingerprint({'levels': frozenset('abcdefgh')})}\n"}


@dataclass(frozen=True, slots=True)
class _Holder:
    held: Any


@pytest.mark.parametrize(
    "value",
    [object(), lambda: 1, partial(max, 1), UseCase, np.log1p, _Holder(lambda: 1), [np.array([lambda: 1])]],
    ids=["object", "function", "partial", "class", "builtin", "function in a dataclass", "function in an array"],
)
def test_a_value_without_a_stable_form_is_refused(value: Any) -> None:
    """Of a function only its attributes are plain: two that do different things would look the same."""
    with pytest.raises(UseCaseError, match="has no form that is the same in every process; use numbers"):
        training.fingerprint({"value": value})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4), st.randoms())
def test_a_fingerprint_depends_on_content_not_on_order(value: dict[str, Any], random: Any) -> None:
    names = list(value)
    random.shuffle(names)

    assert training.fingerprint({name: value[name] for name in names}) == training.fingerprint(value)
    assert training.fingerprint({**value, "another name": 1}) != training.fingerprint(value)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (timedelta(days=1), timedelta(days=2)),
        (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)),
        (frozenset({1}), frozenset({2})),
        (np.float64(1.5), np.float64(2.5)),
        (np.array([1.0, 2.0]), np.array([2.0, 1.0])),
        (VIEW, replace(VIEW, description="other")),
    ],
)
def test_values_that_json_does_not_know_are_told_apart(a: Any, b: Any) -> None:
    assert training.fingerprint({"x": a}) == training.fingerprint({"x": a})
    assert training.fingerprint({"x": a}) != training.fingerprint({"x": b})


SNAPSHOT = PartitionSnapshot(
    asset="tiny/events",
    partition="2024-01-01",
    code_version="1",
    data_version="a",
    run_id="r",
    materialized_at=datetime(2024, 1, 1, tzinfo=UTC),
)


@pytest.mark.parametrize("name", sorted(PartitionSnapshot.model_fields))
def test_partitions_are_told_apart_by_what_they_are_not_by_when_they_were_made(name: str) -> None:
    changed = SNAPSHOT.model_copy(update={name: None if name == "materialized_at" else "other"})

    same = training.partitions_fingerprint([changed]) == training.partitions_fingerprint([SNAPSHOT])
    assert same == (name in {"run_id", "materialized_at"})


def test_partitions_have_no_order() -> None:
    other = SNAPSHOT.model_copy(update={"partition": "2024-01-02"})

    assert training.partitions_fingerprint([SNAPSHOT, other]) == training.partitions_fingerprint([other, SNAPSHOT])


def test_the_queries_of_a_frame_do_not_depend_on_what_models_do_with_it() -> None:
    before = training.queries_fingerprint(USE_CASE)

    assert training.queries_fingerprint(_with_feature(monotone="increasing")) == before
    for what in ("sql of a view", "time to live", "lookback", "requests", "sql of the label"):
        assert training.queries_fingerprint(DECLARED[what]) != before


def test_every_field_of_the_declarations_is_seen() -> None:
    """What is added to a declaration later enters by itself: dataclasses are taken whole."""
    assert {field.name for field in fields(VIEW)} >= {"entity", "ttl", "lookback", "sql", "refresh"}
    assert _changed(_fingerprints(_with_view(refresh=timedelta(hours=2)))) == {"features"}


SMALL_INTEGERS, BIG_INTEGERS = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
INTEGERS = {
    "int32": SMALL_INTEGERS,
    "int64": BIG_INTEGERS,
    "Int64": BIG_INTEGERS | st.none(),
    "uint64": st.integers(0, 2**64 - 1),
}


@pytest.mark.parametrize("dtype", INTEGERS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_integers_of_any_size_are_told_apart_and_survive_a_round_trip(
    tmp_path: Path, dtype: str, data: st.DataObject
) -> None:
    """As floats 2 ** 53 and its successor would be one."""
    values: list[Any] = data.draw(st.lists(INTEGERS[dtype], min_size=1, max_size=5))
    frame = pd.DataFrame({"x": pd.Series(values, dtype=dtype)})
    told = training.frame_fingerprint(frame)
    write_frame(tmp_path / "frame.parquet", frame, None, "frame")
    assert training.frame_fingerprint(read_frame([tmp_path / "frame.parquet"])) == told

    place = data.draw(st.integers(0, len(values) - 1))
    other = data.draw(INTEGERS[dtype].filter(lambda value: value != values[place]))
    neighbour = values[place] ^ 1 if values[place] is not None else 1
    for value in (other, neighbour):
        changed = pd.DataFrame({"x": pd.Series([*values[:place], value, *values[place + 1 :]], dtype=dtype)})
        assert training.frame_fingerprint(changed) != told
