"""The one model of the serving benchmark: twenty numbers, five categories, logistic regression, in all its forms.

Belongs here: two use cases of the same features (all in the request; all but the key from two views of the online
store), training data, the scikit-learn pipeline on a data frame, the same model as a bundle, a model that never
answers, and request bodies. Upstream: scikit-learn, skl2onnx, ``hanging``. Downstream: ``platform``,
``peers``, ``foreign``.
"""

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.serving.hanging import hanging_onnx
from shadow_platform.adapters.bundle import encode_frame, write_bundle
from shadow_platform.adapters.onnx_export import export_onnx
from shadow_platform.contracts.bundle import BundleManifest, Calibration, CategoricalInput, NumericInput
from shadow_platform.contracts.use_case import AnswerSpec, Entity, Feature, FeatureView, UseCase
from shadow_platform.contracts.verdicts import Outcome, ParityReport
from shadow_platform.use_cases import load_use_case

KEY = "customer_id"
NUMERIC = tuple(f"amount_{index:02d}" for index in range(20))
CATEGORICAL = tuple(f"kind_{index}" for index in range(5))
LEVELS = tuple(f"level_{index}" for index in range(8))
VIEWS = {"amounts": NUMERIC[:15], "profile": (*NUMERIC[15:], *CATEGORICAL)}
PIPELINE_FILE = "pipeline.pickle"
BUNDLE_FILE = "bundle"
N_ROWS = 4_000
SEED = 11
AT = datetime(2024, 1, 1, tzinfo=UTC)

INPUTS: tuple[NumericInput | CategoricalInput, ...] = (
    *(NumericInput(name=name, imputed=0.0) for name in NUMERIC),
    *(CategoricalInput(name=name, levels=LEVELS) for name in CATEGORICAL),
)


def _use_case(name: str, views: Sequence[str]) -> UseCase:
    view_of = {feature: view for view in views for feature in VIEWS[view]}
    return replace(
        load_use_case("flights"),
        name=name,
        title="Serving benchmark",
        subject=KEY,
        subject_example="c-1",
        entities=(Entity(KEY, "Synthetic customer", "c-1"),) if views else (),
        views=tuple(
            FeatureView(view, KEY, timedelta(days=365), timedelta(days=1), "", "Synthetic features") for view in views
        ),
        features=(
            *(Feature(n, "Synthetic amount", view=view_of.get(n), low=-1e6, high=1e6) for n in NUMERIC),
            *(Feature(n, "Synthetic kind", kind="categorical", view=view_of.get(n)) for n in CATEGORICAL),
        ),
        answer=AnswerSpec(probability="churn_probability", prediction="churn_prediction"),
    )


REQUEST = _use_case("benchmark", ())
ONLINE = _use_case("benchmark_online", tuple(VIEWS))


@dataclass(frozen=True)
class Bundles:
    """Hashes of one use case's models: two that answer alike, and one that never does."""

    champion: str
    challenger: str
    hanging: str


def frame(n_rows: int) -> pd.DataFrame:
    """Synthetic feature rows."""
    rng = np.random.default_rng(SEED)
    numbers = {name: rng.normal(0, 10, n_rows).round(3) for name in NUMERIC}
    return pd.DataFrame({**numbers, **{name: rng.choice(LEVELS, n_rows) for name in CATEGORICAL}})


def train(folder: Path, bundles: Path, use_case: UseCase) -> Bundles:
    """Bundles of one use case; leaves the pipeline and the champion's place in the folder."""
    rows = frame(N_ROWS)
    noise = np.random.default_rng(SEED).logistic(0, 4, len(rows))
    y = (rows[list(NUMERIC[:6])].sum(axis=1) + 8 * (rows[CATEGORICAL[0]] == LEVELS[0]) + noise) > 0
    (folder / PIPELINE_FILE).write_bytes(pickle.dumps(_pipeline().fit(rows, y)))
    matrix, _ = encode_frame(INPUTS, rows)

    def bundle(name: str, content: bytes, cases: pd.DataFrame) -> str:
        digest, _ = write_bundle(bundles, _manifest(use_case.name, name), content, rows.head(20), _records(cases))
        return digest

    champion, challenger = (
        bundle(f"line {strength}", export_onnx(_fit(matrix, y, strength), len(INPUTS)), rows.head(20))
        for strength in (1.0, 0.1)
    )
    (folder / BUNDLE_FILE).write_text(str(bundles / champion), encoding="utf-8")
    return Bundles(champion, challenger, bundle("hanging", hanging_onnx(len(INPUTS)), rows.head(1)[[]]))


def write_bodies(folder: Path, keys: Sequence[str] | None, n: int) -> Path:
    """File of request bodies, one a line: with all features, or with one of the keys alone."""
    path = folder / ("bodies.jsonl" if keys is None else "keys.jsonl")
    if keys is None:
        bodies = [{KEY: f"c-{i}", **row} for i, row in enumerate(_records(frame(n)))]
    else:
        bodies = [{KEY: key} for key in keys]
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies), encoding="utf-8")
    return path


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _pipeline() -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer(
        [("numbers", numbers, list(NUMERIC)), ("kinds", OneHotEncoder(handle_unknown="ignore"), list(CATEGORICAL))]
    )
    return Pipeline([("columns", columns), ("model", LogisticRegression(max_iter=1000))])


def _fit(matrix: npt.NDArray[np.float32], y: "pd.Series[bool]", strength: float) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    coded = list(range(len(NUMERIC), len(INPUTS)))
    codes = [np.arange(len(LEVELS) + 1, dtype=np.float32) for _ in coded]
    encoder = OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    columns = ColumnTransformer([("numbers", StandardScaler(), list(range(len(NUMERIC)))), ("kinds", encoder, coded)])
    return Pipeline([("columns", columns), ("model", LogisticRegression(C=strength, max_iter=1000))]).fit(matrix, y)


def _manifest(use_case: str, name: str) -> BundleManifest:
    return BundleManifest(
        use_case=use_case,
        model_name=name,
        inputs=INPUTS,
        calibration=Calibration(slope=1.0, intercept=0.0),
        threshold=0.5,
        trained_as_of=AT,
        evaluation_start=AT,
        evaluation_end=AT,
        n_train=N_ROWS,
        n_evaluation=0,
        metrics={},
        parity=ParityReport(n=0, max_abs_diff=0.0, share_within_1e5=1.0, flipped_decisions=0, outcome=Outcome.PASS),
        fingerprints={},
        seed=SEED,
    )
