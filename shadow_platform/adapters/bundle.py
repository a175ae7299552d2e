"""Bundles on disk (ONNX Runtime): written once, checked when loaded, answering without unpickling anything.

Belongs here: the folder format, its hash, and the one encoding of feature values, used alike by training, service and
shadow worker. Does not belong here: fitting, calibration, metrics (``domain.training``), the making of ONNX
(``adapters.onnx_export``), versions and aliases (``adapters.registry``).
Upstream: training writes. Downstream: registry, Bento, service, shadow worker and drift load.
"""

import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ValidationError

from shadow_platform.contracts.bundle import BundleManifest, Calibration, CategoricalInput, NumericInput
from shadow_platform.contracts.errors import BundleError

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "bundle.json"
REFERENCE_FILE = "reference.parquet"
SELFTEST_FILE = "selftest.json"
FILES = (MANIFEST_FILE, MODEL_FILE, REFERENCE_FILE, SELFTEST_FILE)

SELFTEST_TOLERANCE = 1e-5
# Float32 probabilities carry no information closer to 0 and 1 than this, so logits stop here.
PROBABILITY_FLOOR = 1e-6
_FLOAT32_MAX = float(np.finfo(np.float32).max)

Inputs = Sequence[NumericInput | CategoricalInput]
Row = Mapping[str, Any]
Matrix = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]


class Encoder:
    """Turns feature values into the model's float32 matrix.

    A missing value (absent, ``None``, NaN) becomes the imputed number, or code 0 of a categorical. A number that
    float32 cannot hold counts as missing. An unknown level is code 0 too, but is not counted as missing.
    """

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = tuple(inputs)
        self._plan: tuple[tuple[str, float, dict[str, float] | None], ...] = tuple(
            (column.name, column.imputed, None)
            if isinstance(column, NumericInput)
            else (column.name, 0.0, {level: float(i) for i, level in enumerate(column.levels, start=1)})
            for column in self._inputs
        )

    def rows(self, rows: Sequence[Row]) -> tuple[Matrix, list[int]]:
        """Matrix of shape ``(rows, inputs)`` and the number of missing values per row."""
        encoded: list[list[float]] = []
        missing: list[int] = []
        for row in rows:
            values, n_missing = self._row(row)
            encoded.append(values)
            missing.append(n_missing)
        matrix = np.array(encoded, dtype=np.float32).reshape(len(encoded), len(self._plan))
        return matrix, missing

    def _row(self, row: Row) -> tuple[list[float], int]:
        values: list[float] = []
        n_missing = 0
        get = row.get
        for name, imputed, codes in self._plan:
            value = get(name)
            if codes is None:
                try:
                    is_known = -_FLOAT32_MAX <= value <= _FLOAT32_MAX  # type: ignore[operator]
                except TypeError as error:
                    if not _is_missing(value):
                        raise _wrong_type(name, value, "a number") from error
                    is_known = False
                n_missing += not is_known
                values.append(float(value) if is_known else imputed)  # type: ignore[arg-type]
            elif isinstance(value, str):
                values.append(codes.get(value, 0.0))
            elif _is_missing(value):
                n_missing += 1
                values.append(0.0)
            else:
                raise _wrong_type(name, value, "a string (a level)")
        return values, n_missing

    def frame(self, frame: pd.DataFrame) -> tuple[Matrix, Counts]:
        """Same as ``rows``, one column at a time."""
        matrix = np.empty((len(frame), len(self._plan)), dtype=np.float32)
        missing = np.zeros(len(frame), dtype=np.int64)
        for i, (name, imputed, codes) in enumerate(self._plan):
            if name not in frame:
                matrix[:, i] = imputed
                missing += 1
                continue
            column = frame[name]
            values, is_missing = _numbers(column, name, imputed) if codes is None else _codes(column, name, codes)
            matrix[:, i] = values
            missing += is_missing
        return matrix, missing


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _numbers(column: pd.Series, name: str, imputed: float) -> tuple[Probabilities, npt.NDArray[np.bool_]]:
    if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        raise _wrong_type(name, column.dtype, "a number")
    if column.dtype == object or pd.api.types.is_string_dtype(column.dtype):
        wrong = next((v for v in column if isinstance(v, str)), None)
        if wrong is not None:
            raise _wrong_type(name, wrong, "a number")
    values = pd.to_numeric(column, errors="raise").to_numpy(dtype=np.float64, na_value=np.nan)
    is_missing = ~(np.abs(values) <= _FLOAT32_MAX)
    return np.where(is_missing, imputed, values), is_missing


def _codes(column: pd.Series, name: str, codes: Mapping[str, float]) -> tuple[Probabilities, npt.NDArray[np.bool_]]:
    places, levels = pd.factorize(column.astype(object).to_numpy(), use_na_sentinel=True)
    for level in levels:
        if not isinstance(level, str):
            raise _wrong_type(name, level, "a string (a level)")
    table = np.array([*(codes.get(level, 0.0) for level in levels), 0.0], dtype=np.float64)
    return table[places], places == -1


def _wrong_type(name: str, value: object, expected: str) -> BundleError:
    return BundleError(
        f"feature {name!r} has value {value!r} ({type(value).__name__}), expected {expected} or null; "
        "correct the type where the feature is made (feature SQL or request)"
    )


def encode_rows(inputs: Inputs, rows: Sequence[Row]) -> tuple[Matrix, list[int]]:
    """Matrix and missing values per row, of rows as mappings; in the hot path use ``Bundle.encode``.

    >>> matrix, missing = encode_rows([NumericInput(name="x", imputed=2.0)], [{"x": 1}, {}])
    >>> matrix.tolist(), missing
    ([[1.0], [2.0]], [0, 1])
    """
    return Encoder(inputs).rows(rows)


def encode_frame(inputs: Inputs, frame: pd.DataFrame) -> tuple[Matrix, Counts]:
    """Matrix and missing values per row, of a frame; equal to ``encode_rows`` of its records."""
    return Encoder(inputs).frame(frame)


def bundle_hash(folder: Path) -> str:
    """SHA-256 over the sorted names and contents of a bundle's files; raises ``BundleError`` if one is missing."""
    try:
        names = sorted(entry.name for entry in folder.iterdir())
        absent = sorted(set(FILES) - set(names))
        if absent:
            raise BundleError(f"bundle {folder} lacks {', '.join(absent)}; fetch it from the registry again")
        digest = hashlib.sha256()
        for name in names:
            content = (folder / name).read_bytes()
            digest.update(f"{len(name.encode())}:{name}:{len(content)}:".encode())
            digest.update(content)
    except OSError as error:
        raise BundleError(f"bundle {folder} cannot be read ({error}); fetch it from the registry again") from error
    return digest.hexdigest()


def write_bundle(
    folder_parent: Path,
    manifest: BundleManifest,
    onnx_bytes: bytes,
    reference: pd.DataFrame,
    selftest: Sequence[Row],
) -> tuple[str, Path]:
    """Hash and folder ``folder_parent/<hash>`` of a new bundle; the same content gives the folder that exists.

    Args:
        reference: frozen drift reference: features as known, ``score``, ``requested_at`` (UTC).
        selftest: feature rows; the probabilities they give now are stored, and must be given ever after.
    """
    folder_parent.mkdir(parents=True, exist_ok=True)
    temporary = folder_parent / f".new-{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        rows = [_json_row(manifest.inputs, row) for row in selftest]
        probabilities = OnnxModel(onnx_bytes, manifest.calibration).predict(encode_rows(manifest.inputs, rows)[0])
        cases = [{"features": row, "probability": float(p)} for row, p in zip(rows, probabilities, strict=True)]
        reference.reset_index(drop=True).to_parquet(temporary / REFERENCE_FILE, index=False)
        (temporary / MODEL_FILE).write_bytes(onnx_bytes)
        (temporary / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        (temporary / SELFTEST_FILE).write_text(json.dumps(cases, indent=1), encoding="utf-8")
        for name in FILES:
            _sync(temporary / name)
        digest = bundle_hash(temporary)
        return digest, publish(temporary, folder_parent / digest)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish(temporary: Path, folder: Path) -> Path:
    """``folder``, made by renaming ``temporary``, or found there intact; raises ``BundleError`` if it is altered."""
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        if bundle_hash(folder) != folder.name:
            raise BundleError(
                f"bundle {folder} was altered: its content has hash {bundle_hash(folder)}; remove the folder and retry"
            ) from None
    else:
        _sync(folder.parent)
    return folder


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _json_row(inputs: Inputs, row: Row) -> dict[str, float | str | None]:
    values = {column.name: row.get(column.name) for column in inputs}
    return {
        name: value if isinstance(value, str) else None if _is_missing(value) else float(value)  # type: ignore[arg-type]
        for name, value in values.items()
    }


class OnnxModel:
    """An ONNX session on one thread, followed by Platt calibration."""

    def __init__(self, onnx_bytes: bytes, calibration: Calibration) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no public base class for its errors
            raise BundleError(f"{MODEL_FILE} cannot be loaded: {error}; train the model again") from error
        self._run = session.run
        self._input: str = session.get_inputs()[0].name
        self._outputs: list[str] = [session.get_outputs()[-1].name]
        self._slope = calibration.slope
        self._intercept = calibration.intercept

    def predict(self, matrix: Matrix, run_options: Any = None) -> Probabilities:
        """Calibrated probabilities, shape ``(rows,)``; one row takes a path without numpy's overhead."""
        raw = self._run(self._outputs, {self._input: matrix}, run_options)[0]
        if len(matrix) == 1:
            p = min(max(float(raw[0, 1]), PROBABILITY_FLOOR), 1 - PROBABILITY_FLOOR)
            z = self._slope * math.log(p / (1 - p)) + self._intercept
            return np.array((0.5 * (1 + math.tanh(0.5 * z)),))
        p_all = np.clip(raw[:, 1].astype(np.float64), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
        z_all = self._slope * np.log(p_all / (1 - p_all)) + self._intercept
        result: Probabilities = 0.5 * (1 + np.tanh(0.5 * z_all))
        return result


class Bundle:
    """A loaded bundle: what a process needs to answer with one model."""

    def __init__(self, folder: Path, digest: str, manifest: BundleManifest, model: OnnxModel) -> None:
        self.folder = folder
        self.hash = digest
        self.manifest = manifest
        self._model = model
        self._encoder = Encoder(manifest.inputs)

    @classmethod
    def load(cls, folder: Path, verify: bool = True, expected: str | None = None) -> "Bundle":
        """Open a bundle; raises ``BundleError`` if it is incomplete or not what its hash says.

        Args:
            verify: whether to hash the files; without it the expected hash is believed.
            expected: hash it must have; default: the folder's name.
        """
        expected = expected or folder.name
        if verify and (found := bundle_hash(folder)) != expected:
            raise BundleError(
                f"bundle {folder} has hash {found}, expected {expected}: it was altered or is incomplete; "
                "fetch it from the registry again"
            )
        manifest = read_bundle_manifest(folder)
        try:
            onnx_bytes = (folder / MODEL_FILE).read_bytes()
        except OSError as error:
            raise BundleError(f"{folder / MODEL_FILE} cannot be read ({error}); fetch the bundle again") from error
        return cls(folder, expected, manifest, OnnxModel(onnx_bytes, manifest.calibration))

    def encode(self, rows: Sequence[Row]) -> tuple[Matrix, list[int]]:
        """Matrix of the rows and the number of missing values per row."""
        return self._encoder.rows(rows)

    def encode_frame(self, frame: pd.DataFrame) -> tuple[Matrix, Counts]:
        """Matrix of the frame's rows and the number of missing values per row."""
        return self._encoder.frame(frame)

    def predict(self, matrix: Matrix, run_options: Any = None) -> Probabilities:
        """Calibrated probabilities, shape ``(rows,)``, of a float32 matrix of shape ``(rows, inputs)``.

        Args:
            run_options: of ``stoppable``, so that another thread can end the call.
        """
        return self._model.predict(matrix, run_options)

    def reference(self) -> pd.DataFrame:
        """Frozen drift reference: features as known, ``score``, ``requested_at``."""
        return pd.read_parquet(self.folder / REFERENCE_FILE)

    def selftest(self) -> None:
        """Score the stored rows, one by one and together; raises ``BundleError`` if an answer is not the stored one."""
        cases = json.loads((self.folder / SELFTEST_FILE).read_text(encoding="utf-8"))
        if not cases:
            return
        matrix, _ = self.encode([case["features"] for case in cases])
        expected = np.array([case["probability"] for case in cases])
        singly = np.concatenate([self.predict(matrix[i : i + 1]) for i in range(len(matrix))])
        for answers in (self.predict(matrix), singly):
            distance = np.abs(answers - expected)
            if not np.all(distance <= SELFTEST_TOLERANCE):
                i = int(np.nanargmax(np.where(np.isnan(distance), np.inf, distance)))
                raise BundleError(
                    f"bundle {self.hash} fails its self-test: row {i} gives {answers[i]!r}, expected {expected[i]!r} "
                    f"within {SELFTEST_TOLERANCE}; do not serve it, train the model again on this platform"
                )


def stoppable() -> Any:
    """Options of one call of ``Bundle.predict``: when their ``terminate`` is set to true, the call raises soon."""
    import onnxruntime as ort

    return ort.RunOptions()


class BundleStore:
    """Bundles of one home folder, and the steps of making one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def encode(self, inputs: Inputs, frame: pd.DataFrame) -> tuple[Matrix, Counts]:
        """Matrix of the frame's rows and the number of missing values per row."""
        return encode_frame(inputs, frame)

    def score(self, onnx_bytes: bytes, calibration: Calibration, matrix: Matrix) -> Probabilities:
        """Probabilities that a bundle with this model would answer."""
        return OnnxModel(onnx_bytes, calibration).predict(matrix)

    def write(
        self, manifest: BundleManifest, onnx_bytes: bytes, reference: pd.DataFrame, selftest: Sequence[Row]
    ) -> tuple[str, Path]:
        """Hash and folder of a new bundle, as ``write_bundle``."""
        return write_bundle(self.folder, manifest, onnx_bytes, reference, selftest)

    def load(self, digest: str, verify: bool = True) -> Bundle:
        """Open a bundle by its hash; raises ``BundleError``."""
        return Bundle.load(self.folder / digest, verify=verify)


def read_bundle_manifest(folder: Path) -> BundleManifest:
    """Manifest of a bundle, without opening its model; raises ``BundleError``."""
    try:
        return BundleManifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise BundleError(f"{folder / MANIFEST_FILE} cannot be used ({error}); fetch the bundle again") from error
