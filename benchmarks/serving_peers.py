"""The peers of the serving benchmark: FastAPI with a typed request, answering from ONNX (A) or scikit-learn (B).

Run by ``benchmarks.serving`` under uvicorn with one worker. Neither logs a prediction nor compares it. Upstream:
``benchmarks.serving_models``. Downstream: wrk.
"""

import os
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel, Field, create_model

from benchmarks.serving_models import BUNDLE_FILE, CATEGORICAL, NUMERIC, PIPELINE_FILE
from shadow_platform.adapters.bundle import Bundle

FOLDER = Path(os.environ["BENCHMARK_FOLDER"])

_fields: dict[str, Any] = {"customer_id": (str, Field(max_length=256))}
_fields |= {name: (float | None, Field(None, ge=-1e6, le=1e6, allow_inf_nan=False)) for name in NUMERIC}
_fields |= {name: (str | None, Field(None, max_length=256)) for name in CATEGORICAL}
Request: Any = create_model("Request", **_fields)


class Answer(BaseModel):
    """What both peers answer, alike to the platform's answer."""

    request_id: str
    customer_id: str
    churn_probability: float
    churn_prediction: bool
    model_version: str
    timestamp: datetime


def _onnx() -> Callable[[dict[str, Any]], float]:
    bundle = Bundle.load(Path((FOLDER / BUNDLE_FILE).read_text(encoding="utf-8")))
    return lambda row: float(bundle.predict(bundle.encode([row])[0])[0])


def _sklearn() -> Callable[[dict[str, Any]], float]:
    pipeline = pickle.loads((FOLDER / PIPELINE_FILE).read_bytes())
    columns = [*NUMERIC, *CATEGORICAL]
    return lambda row: float(pipeline.predict_proba(pd.DataFrame([row], columns=columns))[0, 1])


SCORE = {"onnx": _onnx, "sklearn": _sklearn}[os.environ["BENCHMARK_MODEL"]]()
APP = FastAPI()


@APP.post("/predict")
async def predict(request: Request) -> Answer:
    """Score one request in the event loop; a thread would cost more."""
    values = request.model_dump()
    probability = SCORE(values)
    return Answer(
        request_id=str(uuid4()),
        customer_id=values["customer_id"],
        churn_probability=probability,
        churn_prediction=probability >= 0.5,
        model_version="1",
        timestamp=datetime.now(UTC),
    )
