"""Peers in the platform's own environment: ASGI applications, each on uvicorn with one worker.

Belongs here: FastAPI with a typed request answering from the same ONNX model, from the scikit-learn pipeline, or from
the ONNX model with features that Feast's SDK reads in the handler; and the floor, bare Starlette that answers a
constant. None logs or compares a prediction. The application is chosen by ``BENCHMARK_PEER``.
Upstream: ``models``. Downstream: ``load``.
"""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import httpx
import psutil

from bento.serve import free_port

if TYPE_CHECKING:
    from starlette.types import ASGIApp

Peer = Literal["onnx", "sklearn", "feast", "constant"]
START_S = 90.0
STOP_S = 15.0
CONSTANT = (
    b'{"request_id":"019aa5a5-0000-7000-8000-000000000000","customer_id":"c-1","churn_probability":0.42,'
    b'"churn_prediction":false,"risk_category":"medium","model_version":"1","timestamp":"2024-01-15T10:30:00.000Z",'
    b'"feature_sources":{"request":25,"online":0,"imputed":0}}'
)

Row = dict[str, Any]


@contextmanager
def running_peer(peer: Peer, folder: Path) -> Iterator[str]:
    """Base URL of a peer that answers; ``folder`` holds the trained model and the platform's home."""
    port = free_port()
    environment = {**os.environ, "BENCHMARK_FOLDER": str(folder), "BENCHMARK_PEER": peer, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.serving.peers:application"]
    command += ["--port", str(port), "--no-access-log", "--log-level", "warning"]
    url = f"http://127.0.0.1:{port}"
    with running_process(command, environment, lambda: httpx.get(url, timeout=5.0).status_code < 500):
        yield url


@contextmanager
def running_process(
    command: list[str],
    environment: dict[str, str],
    is_ready: Callable[[], bool],
    output: Path | None = None,
    start_s: float = START_S,
) -> Iterator[None]:
    """A server with everything it starts, from when it is ready; raises ``RuntimeError`` if it never is.

    Args:
        is_ready: asks the server; an ``httpx.HTTPError`` means no.
        output: file for what it prints; default: the terminal.
    """
    with (output or Path(os.devnull)).open("ab") as file:
        printed = file if output else None
        process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=printed, stderr=printed)
    try:
        deadline = time.monotonic() + start_s
        while not _answers(is_ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{Path(command[0]).name} does not answer")
            time.sleep(0.2)
        yield
    finally:
        _end(process)


def _answers(is_ready: Callable[[], bool]) -> bool:
    try:
        return is_ready()
    except httpx.HTTPError:
        return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask the process to end, then kill what is left of it and of what it started."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(STOP_S)
    except ProcessLookupError:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_S)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=STOP_S)


def application() -> "ASGIApp":
    """The application that the environment asks for."""
    folder, peer = Path(os.environ["BENCHMARK_FOLDER"]), os.environ["BENCHMARK_PEER"]
    if peer == "constant":
        return _constant()
    scores = {"onnx": _onnx, "sklearn": _sklearn, "feast": _feast}
    return _fastapi(scores[peer](folder), has_features=peer != "feast")


def _constant() -> "ASGIApp":
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def predict(_request: Request) -> Response:
        return Response(CONSTANT, media_type="application/json")

    return Starlette(routes=[Route("/predict", predict, methods=["POST"])])


def _fastapi(score: Callable[[list[Row]], list[float]], *, has_features: bool) -> "ASGIApp":
    from fastapi import FastAPI
    from pydantic import BaseModel, Field, create_model

    from benchmarks.serving.models import CATEGORICAL, KEY, NUMERIC

    fields: dict[str, Any] = {KEY: (str, Field(max_length=256))}
    if has_features:
        fields |= {name: (float | None, Field(None, ge=-1e6, le=1e6, allow_inf_nan=False)) for name in NUMERIC}
        fields |= {name: (str | None, Field(None, max_length=256)) for name in CATEGORICAL}
    request_model: Any = create_model("Request", **fields)

    class Answer(BaseModel):
        """What every peer answers, alike to the platform's answer."""

        request_id: str
        customer_id: str
        churn_probability: float
        churn_prediction: bool
        model_version: str
        timestamp: datetime

    def answer(row: Row, probability: float) -> Answer:
        return Answer(
            request_id=str(uuid4()),
            customer_id=row[KEY],
            churn_probability=probability,
            churn_prediction=probability >= 0.5,
            model_version="1",
            timestamp=datetime.now(UTC),
        )

    app = FastAPI()

    @app.post("/predict")
    async def predict(request: request_model) -> Answer:
        """Score one request in the event loop; a thread would cost more."""
        row = request.model_dump()
        return answer(row, score([row])[0])

    @app.post("/predict/batch")
    async def predict_batch(requests: list[request_model]) -> list[Answer]:
        """Score a list at once."""
        rows = [request.model_dump() for request in requests]
        return [answer(row, probability) for row, probability in zip(rows, score(rows), strict=True)]

    return app


def _onnx(folder: Path) -> Callable[[list[Row]], list[float]]:
    from benchmarks.serving.models import BUNDLE_FILE
    from shadow_platform.adapters.bundle import Bundle

    bundle = Bundle.load(Path((folder / BUNDLE_FILE).read_text(encoding="utf-8")))
    return lambda rows: [float(p) for p in bundle.predict(bundle.encode(rows)[0])]


def _sklearn(folder: Path) -> Callable[[list[Row]], list[float]]:
    import pandas as pd

    from benchmarks.serving.models import CATEGORICAL, NUMERIC, PIPELINE_FILE

    pipeline = pickle.loads((folder / PIPELINE_FILE).read_bytes())
    columns = [*NUMERIC, *CATEGORICAL]
    return lambda rows: [float(p) for p in pipeline.predict_proba(pd.DataFrame(rows, columns=columns))[:, 1]]


def _feast(folder: Path) -> Callable[[list[Row]], list[float]]:
    """Scores with what ``get_online_features`` gives, from the store that the platform reads."""
    import feast

    from benchmarks.serving.models import KEY, ONLINE, VIEWS
    from feature_repo.declarations import feast_name
    from shadow_platform.adapters.feature_store import FeastStore
    from shadow_platform.settings import Settings

    settings = Settings(shadow_home=folder / "home")
    store = feast.FeatureStore(config=FeastStore(settings.layout, settings.feast_repo_path, ONLINE).config)
    names = [name for view in VIEWS for name in VIEWS[view]]
    references = [f"{feast_name(ONLINE, view)}:{name}" for view in VIEWS for name in VIEWS[view]]
    score = _onnx(folder)

    def read_and_score(rows: list[Row]) -> list[float]:
        keys = [{KEY: row[KEY]} for row in rows]
        found = store.get_online_features(features=references, entity_rows=keys).to_dict()
        return score([{name: found[name][i] for name in names} for i in range(len(rows))])

    return read_and_score
