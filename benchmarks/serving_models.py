"""The one model of the serving benchmark: twenty numbers, five categories, logistic regression, in all its forms.

Belongs here: the use case, training data, the scikit-learn pipeline on a data frame, the same model as a bundle, and
request bodies. Upstream: scikit-learn, skl2onnx. Downstream: ``benchmarks.serving``, ``benchmarks.serving_peers``.
"""

import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.adapters.bundle import encode_frame, write_bundle
from shadow_platform.adapters.onnx_export import export_onnx
from shadow_platform.contracts.bundle import BundleManifest, Calibration, CategoricalInput, NumericInput
from shadow_platform.contracts.use_case import AnswerSpec, Feature
from shadow_platform.contracts.verdicts import Outcome, ParityReport
from shadow_platform.use_cases import load_use_case

ADDRESS = "benchmarks.serving_models:USE_CASE"
NUMERIC = tuple(f"amount_{index:02d}" for index in range(20))
CATEGORICAL = tuple(f"kind_{index}" for index in range(5))
LEVELS = tuple(f"level_{index}" for index in range(8))
PIPELINE_FILE = "pipeline.pickle"
BUNDLE_FILE = "bundle"
BODIES_FILE = "bodies.jsonl"
N_BODIES = 500
SEED = 11

USE_CASE = replace(
    load_use_case("flights"),
    name="benchmark",
    title="Serving benchmark",
    subject="customer_id",
    subject_example="c-1",
    entities=(),
    views=(),
    features=(
        *(Feature(name, "Synthetic amount", low=-1e6, high=1e6) for name in NUMERIC),
        *(Feature(name, "Synthetic kind", kind="categorical") for name in CATEGORICAL),
    ),
    answer=AnswerSpec(probability="churn_probability", prediction="churn_prediction"),
)


def frame(n_rows: int) -> pd.DataFrame:
    """Synthetic feature rows."""
    rng = np.random.default_rng(SEED)
    numbers = {name: rng.normal(0, 10, n_rows).round(3) for name in NUMERIC}
    return pd.DataFrame({**numbers, **{name: rng.choice(LEVELS, n_rows) for name in CATEGORICAL}})


def train(folder: Path, bundles: Path) -> tuple[str, str]:
    """Bundle hashes of champion and challenger; leaves the pipeline and the request bodies in the folder."""
    rows = frame(4000)
    noise = np.random.default_rng(SEED).logistic(0, 4, len(rows))
    y = (rows[list(NUMERIC[:6])].sum(axis=1) + 8 * (rows[CATEGORICAL[0]] == LEVELS[0]) + noise) > 0
    (folder / PIPELINE_FILE).write_bytes(pickle.dumps(_pipeline().fit(rows, y)))
    lines = [
        json.dumps({"customer_id": f"c-{i}", **row}) for i, row in enumerate(rows.head(N_BODIES).to_dict("records"))
    ]
    (folder / BODIES_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    champion, challenger = (_bundle(bundles, rows, y, strength) for strength in (1.0, 0.1))
    (folder / BUNDLE_FILE).write_text(str(bundles / champion), encoding="utf-8")
    return champion, challenger


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


def _bundle(bundles: Path, rows: pd.DataFrame, y: pd.Series, strength: float) -> str:
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    inputs: tuple[NumericInput | CategoricalInput, ...] = (
        *(NumericInput(name=name, imputed=0.0) for name in NUMERIC),
        *(CategoricalInput(name=name, levels=LEVELS) for name in CATEGORICAL),
    )
    matrix, _ = encode_frame(inputs, rows)
    coded = list(range(len(NUMERIC), len(inputs)))
    codes = [np.arange(len(LEVELS) + 1, dtype=np.float32) for _ in coded]
    encoder = OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    columns = ColumnTransformer([("numbers", StandardScaler(), list(range(len(NUMERIC)))), ("kinds", encoder, coded)])
    model = Pipeline([("columns", columns), ("model", LogisticRegression(C=strength, max_iter=1000))]).fit(matrix, y)
    at = datetime(2024, 1, 1, tzinfo=UTC)
    manifest = BundleManifest(
        use_case=USE_CASE.name,
        model_name=f"line {strength}",
        inputs=inputs,
        calibration=Calibration(slope=1.0, intercept=0.0),
        threshold=0.5,
        trained_as_of=at,
        evaluation_start=at,
        evaluation_end=at,
        n_train=len(rows),
        n_evaluation=0,
        metrics={},
        parity=ParityReport(n=0, max_abs_diff=0.0, share_within_1e5=1.0, flipped_decisions=0, outcome=Outcome.PASS),
        fingerprints={},
        seed=SEED,
    )
    selftest = rows.head(20).to_dict("records")
    digest, _ = write_bundle(bundles, manifest, export_onnx(model, len(inputs)), rows.head(20), selftest)  # type: ignore[arg-type]
    return digest
