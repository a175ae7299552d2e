"""Guarantees of bundles: one encoding, one hash, nothing altered ever answers."""

import math
import multiprocessing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.adapters.bundle import (
    FILES,
    Bundle,
    bundle_hash,
    encode_frame,
    encode_rows,
    write_bundle,
)
from shadow_platform.contracts.bundle import BundleManifest
from shadow_platform.contracts.errors import BundleError
from shadow_platform_tests.trained import INPUTS, make_bundle, make_frame, make_manifest

NUMBERS = st.one_of(st.none(), st.floats(width=64), st.integers(-(10**6), 10**6), st.booleans())
LEVELS = st.one_of(st.none(), st.just(float("nan")), st.sampled_from(["mail", "search", "shop", "pigeon", ""]))
ROWS = st.lists(
    st.fixed_dictionaries({"amount": NUMBERS, "channel": LEVELS}, optional={"age": NUMBERS}), min_size=1, max_size=20
)


@given(ROWS)
def test_rows_and_frame_are_encoded_alike(rows):
    by_row, missing_by_row = encode_rows(INPUTS, rows)
    by_column, missing_by_column = encode_frame(INPUTS, pd.DataFrame(rows, dtype=object))
    np.testing.assert_array_equal(by_row, by_column)
    assert missing_by_row == missing_by_column.tolist()
    assert np.isfinite(by_row).all()


@pytest.mark.parametrize("dtype", ["float64", "Float64", "Int64", "int64", "boolean"])
def test_every_numeric_type_of_a_frame_is_encoded_by_value(dtype):
    frame = pd.DataFrame({"amount": pd.Series([1, 0], dtype=dtype), "age": [2.0, None], "channel": ["shop", None]})
    matrix, missing = encode_frame(INPUTS, frame)
    assert matrix.tolist() == [[1.0, 2.0, 3.0], [0.0, 40.0, 0.0]]
    assert missing.tolist() == [0, 2]


@pytest.mark.parametrize("missing", [None, math.nan, math.inf, -math.inf, 1e300, 10**400, pd.NA])
def test_what_float32_cannot_hold_is_imputed(missing):
    matrix, n_missing = encode_rows(INPUTS, [{"amount": missing, "age": 1, "channel": "mail"}])
    assert matrix.tolist() == [[50.0, 1.0, 1.0]]
    assert n_missing == [1]


def test_unknown_level_is_code_zero_and_not_missing():
    matrix, missing = encode_rows(INPUTS, [{"amount": 1, "age": 1, "channel": "pigeon"}])
    assert matrix[0, 2] == 0
    assert missing == [0]


@pytest.mark.parametrize(("feature", "value"), [("amount", "12"), ("channel", 3), ("channel", True)])
def test_wrong_type_is_refused_by_both_encodings(feature, value):
    row = {"amount": 1.0, "age": 1.0, "channel": "mail", feature: value}
    with pytest.raises(BundleError, match=f"feature '{feature}' has value {value!r}"):
        encode_rows(INPUTS, [row])
    with pytest.raises(BundleError, match=f"feature '{feature}' has value {value!r}"):
        encode_frame(INPUTS, pd.DataFrame([row]))


def test_bundle_gives_back_what_was_written(tmp_path):
    digest, folder = make_bundle(tmp_path)
    bundle = Bundle.load(folder)
    bundle.selftest()
    assert bundle.hash == digest == folder.name == bundle_hash(folder)
    assert bundle.manifest == make_manifest()
    assert list(bundle.reference().columns) == ["amount", "age", "channel", "requested_at", "score"]
    assert str(bundle.reference()["requested_at"].dtype) == "datetime64[us, UTC]"


def test_one_row_and_many_rows_get_the_same_probability(tmp_path):
    bundle = Bundle.load(make_bundle(tmp_path)[1])
    matrix, _ = bundle.encode_frame(make_frame(200))
    singly = [bundle.predict(matrix[i : i + 1])[0] for i in range(len(matrix))]
    np.testing.assert_allclose(bundle.predict(matrix), singly, atol=1e-6)
    assert bundle.predict(matrix).shape == (200,)


def test_probabilities_are_those_of_scikit_learn_after_calibration(tmp_path):
    manifest = make_manifest()
    bundle = Bundle.load(make_bundle(tmp_path)[1])
    plain = Bundle.load(make_bundle(tmp_path, calibration=manifest.calibration.model_copy(update={"slope": 1.0}))[1])
    matrix = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    z = np.log(plain.predict(matrix) / (1 - plain.predict(matrix))) - manifest.calibration.intercept
    expected = 1 / (1 + np.exp(-(1.1 * z + manifest.calibration.intercept)))
    np.testing.assert_allclose(bundle.predict(matrix), expected, atol=1e-6)


def test_same_content_gives_the_same_folder(tmp_path):
    assert make_bundle(tmp_path) == make_bundle(tmp_path)
    assert make_bundle(tmp_path, seed=1) != make_bundle(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def _write(parent: Path) -> str:
    return make_bundle(parent)[0]


def test_many_processes_may_write_the_same_bundle(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert len(set(pool.map(_write, [tmp_path] * 4))) == 1
    assert [path.name for path in tmp_path.iterdir()] == [_write(tmp_path)]


@pytest.mark.parametrize("name", FILES)
def test_altered_bundle_is_refused(tmp_path, name):
    _, folder = make_bundle(tmp_path)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=r"has hash .* expected .* altered or is incomplete"):
        Bundle.load(folder)
    with pytest.raises(BundleError, match="was altered"):
        make_bundle(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_incomplete_bundle_is_refused(tmp_path, name):
    _, folder = make_bundle(tmp_path)
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"lacks {name}"):
        Bundle.load(folder)


def test_added_file_changes_the_hash(tmp_path):
    _, folder = make_bundle(tmp_path)
    (folder / "extra.py").write_text("")
    with pytest.raises(BundleError, match="altered"):
        Bundle.load(folder)


def test_absent_bundle_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(BundleError, match=r"cannot be read .* fetch it from the registry again"):
        Bundle.load(tmp_path / ("0" * 64))


def test_selftest_refuses_a_model_that_answers_otherwise(tmp_path):
    _, folder = make_bundle(tmp_path)
    (folder / "selftest.json").write_text('[{"features": {"amount": 1.0, "age": 2.0}, "probability": 0.123}]')
    altered = folder.rename(tmp_path / bundle_hash(folder))
    with pytest.raises(BundleError, match=r"fails its self-test: row 0 gives .* expected .*0\.123"):
        Bundle.load(altered).selftest()


def test_model_that_is_no_onnx_leaves_nothing_behind(tmp_path):
    with pytest.raises(BundleError, match=r"model\.onnx cannot be loaded"):
        write_bundle(tmp_path, make_manifest(), b"not a model", make_frame(5), [])
    assert list(tmp_path.iterdir()) == []


@given(st.floats(allow_nan=False), st.floats(0, 10))
def test_manifest_survives_json(metric, slope):
    manifest = make_manifest(metrics={"m": metric}, calibration={"slope": slope, "intercept": -1})
    assert BundleManifest.model_validate_json(manifest.model_dump_json()) == manifest
