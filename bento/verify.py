"""Verifies a built Bento in an empty folder, as a machine without a history meets it, before anything points to it.

Belongs here: the check of the package by itself (``bento.package``), and one request that the packaged service answers.
Does not belong here: building (``bento.build``). Upstream: a Bento's folder. Downstream: ``bento.build``.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from bento.package import PACKAGE, SCHEMA_FILE
from bento.serve import SERVER, SERVICE, Child, free_port
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.errors import BundleError
from shadow_platform.contracts.layout import Layout

TIMEOUT_S = 300.0
READY_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.2


def verify_bento(folder: Path, digest: str) -> None:
    """Check a built Bento and let it answer, with nothing around it; raises ``BundleError`` with its reason.

    Its code is all there, its bundles pass their self-tests, its routes can be built (``bento.package.check``); and the
    service, started from the package alone, answers the usual request with the champion.
    """
    with tempfile.TemporaryDirectory(prefix="bento-") as empty:
        command = [sys.executable, "-m", "bento.package"]
        done = run(command, {"PYTHONPATH": str(folder / "src"), "SHADOW_HOME": empty}, Path(empty))
    if done.returncode:
        raise BundleError(f"Bento {folder.name} fails its check: {(done.stderr or done.stdout)[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])["content_hash"]
    if found != digest:
        raise BundleError(f"Bento {folder.name} holds {found}, expected {digest}; build it again")
    _let_answer(folder)


def run(command: list[str], environment: Mapping[str, str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, in a folder, without the settings of this process; raises ``BundleError``."""
    try:
        return subprocess.run(
            command,
            env=_alone(environment),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"{' '.join(command[1:4])} did not end within {TIMEOUT_S:.0f} s; try again") from error


def _alone(environment: Mapping[str, str]) -> dict[str, str]:
    """What is built, and how it answers, depends on what is staged alone; code comes from nowhere else."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    own = {"BENTOML_DO_NOT_TRACK": "True", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    return {**inherited, **own, **environment}


def _let_answer(folder: Path) -> None:
    """One request over HTTP; the service and all it started have ended afterwards."""
    source, port = folder / "src", free_port()
    manifest = next(filter(None, map(read_manifest, Layout(source / PACKAGE).manifests())))
    with tempfile.TemporaryDirectory(prefix="bento-") as empty:
        home = {"SHADOW_HOME": f"{empty}/home", "BENTOML_HOME": f"{empty}/bentoml", "FEAST_REPO_PATH": "feature_repo"}
        environment = _alone({"PYTHONPATH": str(source), "PYTHONSAFEPATH": "1", **home})
        command = [sys.executable, "-m", "bentoml", "serve", SERVICE, "--host", "127.0.0.1", "--port", str(port)]
        output = Path(empty, "service.log")
        server = Child(SERVER, [*command, "--working-dir", str(source)], environment, output)
        server.start()
        try:
            _ask(f"http://127.0.0.1:{port}", server, output, folder.name, manifest, _usual_request(source))
        finally:
            server.signal_end()
            server.end(time.monotonic() + STOP_TIMEOUT_S)


def _ask(url: str, server: Child, output: Path, name: str, manifest: DeploymentManifest, body: Any) -> None:
    deadline, said = time.monotonic() + READY_TIMEOUT_S, "nothing"
    with httpx.Client(base_url=url, timeout=10.0, trust_env=False) as client:
        while True:
            try:
                ready = client.get("/ready")
                if ready.status_code == 200:
                    break
                said = ready.text
            except httpx.TransportError:
                pass
            ended = server.process is None or server.process.poll() is not None
            if ended or time.monotonic() > deadline:
                why = "ended at its start" if ended else f"was not ready after {READY_TIMEOUT_S:.0f} s, it said {said}"
                raise BundleError(f"Bento {name} cannot serve: it {why}\n{output.read_text()[-2000:]}")
            time.sleep(POLL_S)
        answer = client.post("/predict", json=body)
    version = answer.json().get("model_version") if answer.status_code == 200 else None
    if version != manifest.champion.version:
        raise BundleError(
            f"Bento {name} does not answer with version {manifest.champion.version}: "
            f"status {answer.status_code}, {answer.text[-500:]}"
        )


def _usual_request(source: Path) -> Any:
    """Body of the example in the packaged HTTP schema."""
    document = json.loads((source / PACKAGE / SCHEMA_FILE).read_text(encoding="utf-8"))
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    return content["application/json"]["examples"]["usual"]["value"]
