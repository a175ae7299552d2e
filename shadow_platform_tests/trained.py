"""Small frames, models and bundles of training, made in milliseconds and always the same.

Belongs here: what tests of bundle, registry and training share. Does not belong here: assertions.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from shadow_platform.adapters.bundle import write_bundle
from shadow_platform.adapters.onnx_export import export_onnx
from shadow_platform.contracts.bundle import BundleManifest, Calibration, CategoricalInput, NumericInput
from shadow_platform.contracts.use_case import Feature, TrainingPolicy
from shadow_platform.contracts.verdicts import Outcome, ParityReport

START = datetime(2024, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=40)
HORIZON = timedelta(days=1)
POLICY = TrainingPolicy(
    window=timedelta(days=40), calibration=timedelta(days=5), evaluation=timedelta(days=5), min_rows=500
)
FEATURES = (
    Feature("amount", "Amount", unit="EUR"),
    Feature("age", "Age", unit="years"),
    Feature("channel", "Channel", kind="categorical"),
)
CHANNELS = ("mail", "search", "shop")
INPUTS = (
    NumericInput(name="amount", imputed=50.0),
    NumericInput(name="age", imputed=40.0),
    CategoricalInput(name="channel", levels=CHANNELS),
)


def make_frame(n: int = 4_000, seed: int = 0) -> pd.DataFrame:
    """Labelled requests, evenly over forty days; labels known after 1 to 24 hours; nulls in every feature."""
    rng = np.random.default_rng(seed)
    requested_at = pd.Series(pd.to_datetime(START) + pd.to_timedelta(np.linspace(0, 40 * 86_400 - 1, n), unit="s"))
    requested_at = requested_at.astype("datetime64[us, UTC]")
    amount, age = rng.normal(50, 15, n), rng.normal(40, 10, n)
    place = rng.integers(0, 3, n)
    logits = 0.5 - ((amount - 50) / 12) ** 2 + 0.03 * (age - 40) + np.array([-0.5, 0.0, 0.8])[place]
    frame = pd.DataFrame(
        {
            "subject_id": [f"s{i:06d}" for i in range(n)],
            "requested_at": requested_at,
            "amount": np.where(rng.random(n) < 0.02, np.nan, amount),
            "age": np.where(rng.random(n) < 0.02, np.nan, age),
            "channel": pd.Series(np.array(CHANNELS, dtype=object)[place]).mask(rng.random(n) < 0.02, None),
            "label": rng.random(n) < 1 / (1 + np.exp(-logits)),
        }
    )
    frame["known_at"] = frame["requested_at"] + pd.to_timedelta(rng.integers(3_600, 86_400, n), unit="s")
    return frame


def make_manifest(**changes: Any) -> BundleManifest:
    """Manifest of a model on ``INPUTS``."""
    parity = ParityReport(n=10, max_abs_diff=0.0, share_within_1e5=1.0, flipped_decisions=0, outcome=Outcome.PASS)
    values: dict[str, Any] = {
        "use_case": "tiny",
        "model_name": "line",
        "inputs": INPUTS,
        "calibration": Calibration(slope=1.1, intercept=-0.1),
        "threshold": 0.5,
        "trained_as_of": AS_OF,
        "evaluation_start": AS_OF - timedelta(days=6),
        "evaluation_end": AS_OF - timedelta(days=1),
        "n_train": 100,
        "n_evaluation": 10,
        "metrics": {"roc_auc": 0.7, "log_loss": 0.5},
        "parity": parity,
        "fingerprints": {"data": "d"},
        "seed": 0,
    }
    return BundleManifest(**{**values, **changes})


def make_bundle(parent: Path, documents: Mapping[str, bytes] | None = None, **changes: Any) -> tuple[str, Path]:
    """Hash and folder of a bundle of a logistic regression; other manifest values make another bundle."""
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(200, len(INPUTS))).astype(np.float32)
    model = LogisticRegression().fit(matrix, matrix[:, 0] + matrix[:, 2] > 0)
    reference = make_frame(50)[["amount", "age", "channel", "requested_at"]].assign(score=0.5)
    rows: list[dict[str, Any]] = [
        {"amount": 1.0, "age": 2.0, "channel": "mail"},
        {"amount": None, "age": float("nan"), "channel": "new"},
    ]
    onnx_bytes = export_onnx(model, len(INPUTS))
    return write_bundle(parent, make_manifest(**changes), onnx_bytes, reference, rows, documents or {})
