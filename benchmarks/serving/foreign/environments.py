"""Installs and starts the foreign peers; one that does not install or start is reported with the reason.

Belongs here: environments (made by ``uv`` below a cache folder, kept between runs), commands, request bodies. Upstream:
the package index as configured. Downstream: ``throughput``.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import onnx

from benchmarks.serving.models import BUNDLE_FILE, INPUTS, frame
from benchmarks.serving.peers import running_process
from bento.serve import free_port
from shadow_platform.adapters.bundle import MODEL_FILE, encode_frame

HERE = Path(__file__).resolve().parent
N_BODIES = 500
START_S = 180.0

Row = list[float]


class ForeignError(Exception):
    """A foreign peer that cannot take part, and why."""


@dataclass(frozen=True)
class Foreign:
    """One serving framework.

    Attributes:
        packages: requirements; the first is the one whose version is reported.
        command: arguments that start it, given its environment's ``bin``, a folder to write to, the model and a port.
        path: where it answers requests.
        body: request of one encoded row.
        environment: variables it is started with.
    """

    name: str
    packages: tuple[str, ...]
    command: Callable[[Path, Path, Path, int], list[str]]
    path: str
    body: Callable[[Row], Mapping[str, Any]]
    environment: Mapping[str, str]


def _mlflow(binaries: Path, folder: Path, model: Path, port: int) -> list[str]:
    import mlflow.onnx
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    path = folder / "mlflow-model"
    signature = ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, len(INPUTS)))]))
    requirements = ["onnx", "onnxruntime"]
    session = {"intra_op_num_threads": 1}
    if not path.exists():
        mlflow.onnx.save_model(
            onnx.load(str(model)),
            path,
            signature=signature,
            pip_requirements=requirements,
            onnx_session_options=session,
        )
    command = [str(binaries / "mlflow"), "models", "serve", "-m", str(path), "--env-manager", "local"]
    return [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]


def _mlserver(binaries: Path, folder: Path, model: Path, port: int) -> list[str]:
    home = folder / "mlserver"
    home.mkdir(exist_ok=True)
    shutil.copy(HERE / "mlserver_runtime.py", home)
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        # In the server's own process: handing rows to a pool of one costs more than scoring them.
        "parallel_workers": 0,
        "debug": False,
    }
    runtime = {"name": "line", "implementation": "mlserver_runtime.OnnxRuntime", "parameters": {"uri": str(model)}}
    (home / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (home / "model-settings.json").write_text(json.dumps(runtime), encoding="utf-8")
    return [str(binaries / "mlserver"), "start", str(home)]


def _ray(binaries: Path, _folder: Path, model: Path, port: int) -> list[str]:
    return [str(binaries / "python"), str(HERE / "ray_application.py"), str(model), str(port)]


def _tensor(row: Row) -> Mapping[str, Any]:
    return {"inputs": [{"name": "x", "shape": [1, len(row)], "datatype": "FP32", "data": row}]}


QUIET = {"OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1"}
FOREIGN = (
    Foreign(
        "mlflow models serve",
        (f"mlflow=={version('mlflow')}", "onnx", "onnxruntime"),
        _mlflow,
        "/invocations",
        lambda row: {"inputs": [row]},
        QUIET,
    ),
    Foreign("MLServer", ("mlserver==1.7.1", "onnxruntime"), _mlserver, "/v2/models/line/infer", _tensor, QUIET),
    Foreign(
        "Ray Serve",
        ("ray[serve]==2.60.0", "onnxruntime"),
        _ray,
        "/",
        lambda row: {"rows": [row]},
        # The last two made it five times as fast here.
        QUIET
        | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_HA_PROXY": "1"},
    ),
)


def install(foreign: Foreign, peers_home: Path) -> Path:
    """Folder of executables of the peer's environment, made if it is not there; raises ``ForeignError``."""
    home = peers_home / foreign.name.replace(" ", "-").lower()
    marker = home / "installed"
    if marker.exists() and marker.read_text(encoding="utf-8") == _wanted(foreign):
        return home / "bin"
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise ForeignError("uv is not installed; install it (pip install uv)")
    print(f"  installing {', '.join(foreign.packages)} below {home}", flush=True)
    _run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(home)])
    _run([uv, "pip", "install", "-q", "--python", str(home / "bin" / "python"), *foreign.packages])
    marker.write_text(_wanted(foreign), encoding="utf-8")
    return home / "bin"


def installed_version(foreign: Foreign, binaries: Path) -> str:
    """Version of the framework in its environment."""
    package = foreign.packages[0].partition("=")[0].partition("[")[0]
    script = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run(
        [binaries / "python", "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()


@contextmanager
def running_foreign(foreign: Foreign, binaries: Path, folder: Path) -> Iterator[str]:
    """URL that answers requests; raises ``ForeignError`` when the peer does not start."""
    model = Path((folder / BUNDLE_FILE).read_text(encoding="utf-8")) / MODEL_FILE
    port, output = free_port(), folder / f"{binaries.parent.name}.log"
    path = f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, **foreign.environment, "PATH": path, "VIRTUAL_ENV": str(binaries.parent)}
    environment.pop("PYTHONPATH", None)
    command = foreign.command(binaries, folder, model, port)
    url = f"http://127.0.0.1:{port}{foreign.path}"
    body = foreign.body([0.0] * len(INPUTS))
    with ExitStack() as stack:
        try:
            is_ready = partial(_answers, url, body)
            stack.enter_context(running_process(command, environment, is_ready, output, START_S))
        except RuntimeError as error:
            raise ForeignError(f"{error}: {_last_line(output)}") from error
        yield url


def _answers(url: str, body: Mapping[str, Any]) -> bool:
    return httpx.post(url, json=body, timeout=START_S).status_code == 200


def write_encoded_bodies(foreign: Foreign, folder: Path) -> Path:
    """File of request bodies with encoded rows, one a line."""
    matrix, _ = encode_frame(INPUTS, frame(N_BODIES))
    path = folder / f"{foreign.name.replace(' ', '-').lower()}.jsonl"
    path.write_text("".join(json.dumps(foreign.body(row)) + "\n" for row in matrix.tolist()), encoding="utf-8")
    return path


def _wanted(foreign: Foreign) -> str:
    return "\n".join(foreign.packages)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ForeignError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return next((line for line in reversed(lines) if line.strip()), "it printed nothing")[:300]
