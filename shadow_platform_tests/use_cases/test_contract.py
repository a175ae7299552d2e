"""One contract for every use case: what the platform relies on when it runs one it has never seen."""

import json
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from shadow_platform.contracts.use_case import FeatureView, UseCase
from shadow_platform.use_cases import load_use_case, use_case_names
from shadow_platform_tests.use_cases.tables import Tables, before, between, labels_of, received, requests_of, run

ADDRESSES = (
    *use_case_names(),
    "shadow_platform_tests.tiny:USE_CASE",
    "shadow_platform_tests.docs.tutorial:USE_CASE",
)
N_DAYS = 12
EDGE_FROM_START = timedelta(days=9)


@pytest.fixture(params=ADDRESSES)
def address(request: pytest.FixtureRequest) -> str:
    """Address of a use case."""
    return str(request.param)


@pytest.fixture
def use_case(address: str) -> UseCase:
    """A use case."""
    return load_use_case(address)


@pytest.fixture
def start(use_case: UseCase) -> pd.Timestamp:
    """First instant with events."""
    return pd.Timestamp(use_case.source().first_day(), tz="UTC")


@pytest.fixture
def tables(address: str, start: pd.Timestamp) -> Tables:
    """Events of the first days."""
    return received(address, start.date(), N_DAYS)


@pytest.fixture
def end(start: pd.Timestamp) -> pd.Timestamp:
    """First instant behind the events of ``tables``."""
    return start + timedelta(days=N_DAYS)


def _same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left.reset_index(drop=True), right.reset_index(drop=True), check_exact=True)


def test_names_are_unique_and_references_resolve(use_case: UseCase) -> None:
    for values in (use_case.events, use_case.views, use_case.features, use_case.models):
        names = [value.name for value in values]
        assert len(names) == len(set(names))
    views = {view.name for view in use_case.views}
    assert {feature.view for feature in use_case.features} <= views | {None}
    assert {view.entity for view in use_case.views} <= {entity.join_key for entity in use_case.entities}
    assert all(use_case.view_features(view) for view in views)
    assert len(use_case.models) >= 2


def test_examples_lie_in_the_declared_range(use_case: UseCase) -> None:
    for feature in use_case.features:
        if feature.kind == "numeric" and feature.example is not None:
            value = float(feature.example)
            assert feature.low is None or feature.low <= value
            assert feature.high is None or value <= feature.high


def test_the_training_gap_covers_the_label_horizon(use_case: UseCase) -> None:
    assert use_case.training.gap >= use_case.label.horizon


def test_raw_rows_are_json_of_their_receipt_day(use_case: UseCase) -> None:
    source = use_case.source()
    day = source.first_day() + timedelta(days=3)
    batches = source.received_on(day)
    assert set(batches) == {kind.name for kind in use_case.events}
    for kind in use_case.events:
        for row in batches[kind.name]:
            assert json.loads(json.dumps(row, allow_nan=False)) == row
            assert row["schema_version"] == kind.schema_version
            assert datetime.fromisoformat(row["received_at"]).date() == day
            assert set(kind.schema.columns) <= set(row)


def test_the_source_is_deterministic_and_ends(use_case: UseCase) -> None:
    source = use_case.source()
    day = source.first_day() + timedelta(days=1)
    assert source.received_on(day) == use_case.source().received_on(day)
    assert source.first_day() <= use_case.first_partition <= source.last_day()
    assert not any(source.received_on(source.last_day() + timedelta(days=40)).values())
    assert not any(source.received_on(date(1999, 1, 1)).values())


def test_events_have_unique_keys_and_the_columns_of_their_schema(use_case: UseCase, tables: Tables) -> None:
    for kind in use_case.events:
        frame = tables[kind.name]
        assert len(frame) > 0
        assert list(frame.columns) == list(kind.schema.columns)
        assert {"event_id", "event_at", "received_at"} <= set(frame.columns)
        assert not frame.duplicated(list(kind.key)).any()


def test_requests_bring_every_key_and_request_feature(
    use_case: UseCase, tables: Tables, start: pd.Timestamp, end: pd.Timestamp
) -> None:
    requests = requests_of(use_case, tables, start + timedelta(days=1), end)
    needed = {"subject_id", "requested_at"} | {entity.join_key for entity in use_case.entities}
    assert set(requests.columns) == needed | {feature.name for feature in use_case.request_features}
    assert requests["requested_at"].between(start + timedelta(days=1), end, inclusive="left").all()
    assert not requests.duplicated(["subject_id", "requested_at"]).any()
    assert requests[sorted(needed)].notna().all(axis=None)
    assert (requests[[entity.join_key for entity in use_case.entities]] != "").all(axis=None)


def test_values_lie_in_the_declared_range(
    use_case: UseCase, tables: Tables, start: pd.Timestamp, end: pd.Timestamp
) -> None:
    frames = {view.name: run(view.sql, tables, start=start, end=end) for view in use_case.views}
    requests = requests_of(use_case, tables, start, end)
    for feature in use_case.features:
        values = (requests if feature.view is None else frames[feature.view])[feature.name].dropna()
        if feature.kind == "categorical":
            assert values.map(lambda value: isinstance(value, str)).all()
            continue
        assert values.dtype.kind in "fiu"
        assert feature.low is None or values.min() >= feature.low
        assert feature.high is None or values.max() <= feature.high


def test_view_rows_are_unique_and_stamped_inside_the_window(
    use_case: UseCase, tables: Tables, start: pd.Timestamp
) -> None:
    window = (start + timedelta(days=8), start + timedelta(days=9))
    for view in use_case.views:
        rows = run(view.sql, tables, start=window[0], end=window[1])
        names = [feature.name for feature in use_case.view_features(view.name)]
        assert sorted(rows.columns) == sorted([view.entity, "event_at", "created_at", *names])
        assert len(rows) > 0
        assert not rows.duplicated([view.entity, "event_at"]).any()
        assert (rows["event_at"] > window[0]).all()
        assert (rows["event_at"] <= window[1]).all()
        assert (rows["created_at"] >= rows["event_at"]).all()


@pytest.mark.parametrize("alignment", [timedelta(0), timedelta(minutes=25, seconds=13)])
def test_a_window_alone_with_its_lookback_gives_the_rows_of_the_whole(
    use_case: UseCase, tables: Tables, start: pd.Timestamp, end: pd.Timestamp, alignment: timedelta
) -> None:
    for view in use_case.views:
        whole = run(view.sql, tables, start=start, end=end)
        for offset in (8, 10):
            window = (start + timedelta(days=offset) + alignment, start + timedelta(days=offset + 1) + alignment)
            few = between(tables, window[0] - view.lookback, window[1])
            part = run(view.sql, few, start=window[0], end=window[1])
            expected = whole[(whole["event_at"] > window[0]) & (whole["event_at"] <= window[1])]
            assert len(part) > 0
            _same(_sorted(part, view), _sorted(expected, view))


def _sorted(rows: pd.DataFrame, view: FeatureView) -> pd.DataFrame:
    return rows.sort_values(["event_at", view.entity], ignore_index=True)


@pytest.mark.parametrize("into_the_hour", [timedelta(0), timedelta(minutes=37)])
def test_feature_rows_do_not_change_by_what_is_received_later(
    use_case: UseCase, tables: Tables, start: pd.Timestamp, end: pd.Timestamp, into_the_hour: timedelta
) -> None:
    cutoff = start + EDGE_FROM_START + timedelta(hours=20) + into_the_hour
    for view in use_case.views:
        later = run(view.sql, tables, start=start, end=end)
        then = run(view.sql, before(tables, cutoff), start=start, end=cutoff)
        assert len(then) > 0
        _same(_sorted(then, view), _sorted(later[later["event_at"] <= cutoff], view))


def test_requests_do_not_change_by_what_is_received_later(
    use_case: UseCase, tables: Tables, start: pd.Timestamp, end: pd.Timestamp
) -> None:
    cutoff = start + EDGE_FROM_START + timedelta(hours=20)
    later = requests_of(use_case, tables, start, end)
    then = requests_of(use_case, before(tables, cutoff), start, cutoff + timedelta(microseconds=1))
    _same(then, later[later["requested_at"] <= cutoff])


def test_labels_known_then_do_not_change_by_what_is_received_later(
    use_case: UseCase, tables: Tables, start: pd.Timestamp
) -> None:
    as_of = start + EDGE_FROM_START + timedelta(hours=17, minutes=23)
    requests = requests_of(use_case, tables, start + timedelta(days=1), as_of)
    then = labels_of(use_case, before(tables, as_of), requests, as_of)
    later = labels_of(use_case, tables, requests, as_of + use_case.label.horizon)
    assert len(then) > 0
    key = ["known_at", "subject_id"]
    _same(then.sort_values(key), later[later["known_at"] <= as_of].sort_values(key))


def test_every_request_has_one_label_once_the_horizon_has_passed(
    use_case: UseCase, tables: Tables, start: pd.Timestamp, end: pd.Timestamp
) -> None:
    requests = requests_of(use_case, tables, start + timedelta(days=1), end - use_case.label.horizon)
    labels = labels_of(use_case, tables, requests, end)
    assert sorted(labels["subject_id"]) == sorted(requests["subject_id"])
    assert set(labels.columns) == {"subject_id", "requested_at", "label", "event_at", "known_at"}
    assert labels["label"].dtype == bool
    assert 0.05 < labels["label"].mean() < 0.95
    assert (labels["known_at"] > labels["requested_at"]).all()
    assert (labels["known_at"] <= labels["requested_at"] + use_case.label.horizon).all()
    assert (labels["event_at"] <= labels["known_at"]).all()


def _matrix(use_case: UseCase, n_levels: dict[str, int], n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    columns = [
        rng.integers(0, n_levels[feature.name] + 1, n) if feature.kind == "categorical" else rng.normal(10, 4, n)
        for feature in use_case.features
    ]
    return np.column_stack(columns).astype(np.float32)


@pytest.mark.filterwarnings("ignore:Field onnx.AttributeProto:DeprecationWarning")
def test_every_model_is_reproducible_and_converts_to_onnx_with_one_float32_input(use_case: UseCase) -> None:
    import onnxruntime
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    n_levels = {feature.name: 3 for feature in use_case.features if feature.kind == "categorical"}
    matrix, other = _matrix(use_case, n_levels, 600, 0), _matrix(use_case, n_levels, 200, 1)
    target = matrix.sum(axis=1) > np.median(matrix.sum(axis=1))
    for spec in use_case.models:
        fitted = spec.build(use_case.features, n_levels, 5).fit(matrix, target)
        again = spec.build(use_case.features, n_levels, 5).fit(matrix, target)
        expected = fitted.predict_proba(other)
        np.testing.assert_array_equal(expected, again.predict_proba(other))
        tensor = [("inputs", FloatTensorType([None, matrix.shape[1]]))]
        model = to_onnx(fitted, initial_types=tensor, options={id(fitted): {"zipmap": False}}, target_opset=17)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        given = session.run(None, {"inputs": other})[1]
        np.testing.assert_allclose(given, expected, atol=1e-5)
