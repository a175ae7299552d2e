"""``shadow reports``: Evidently's UI on the reports of all windows, on this machine and offline.

Upstream: the workspace that the asset drift_report fills. Downstream: a browser.
"""

import os
import socket
import subprocess
import sys
import time
from typing import Annotated

import typer

from shadow_platform.cli.options import UseCaseOption
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.settings import load_settings

HOST = "127.0.0.1"


def reports(
    use_case: UseCaseOption,
    port: Annotated[int, typer.Option(help="Port of the UI.", min=1, max=65535)] = 8001,
) -> None:
    """Browse Evidently's reports of all windows; telemetry is off, and nothing leaves this machine."""
    from shadow_platform.adapters.reports import project_id
    from shadow_platform.use_cases import load_use_case

    name, workspace = load_use_case(use_case).name, load_settings().layout.evidently
    if not (workspace / str(project_id(name))).is_dir():
        raise ShadowPlatformError(f"there is no report of {name} in {workspace} yet; materialize drift_report first")
    _require_free(port)
    command = [sys.executable, "-m", "evidently.cli", "ui", "--workspace", str(workspace)]
    process = subprocess.Popen([*command, "--host", HOST, "--port", str(port)], env={**os.environ, "DO_NOT_TRACK": "1"})
    try:
        _wait_until_open(process, port)
        typer.echo(f"reports of {name} at http://{HOST}:{port}/projects/{project_id(name)}; stop with Ctrl-C")
        process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
    if process.returncode > 0:
        raise ShadowPlatformError(f"Evidently's UI ended with exit code {process.returncode}; its words are above")


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise ShadowPlatformError(f"--port {port}: something answers there already; choose another port")


def _wait_until_open(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Return when the UI answers or has ended; reading the workspace takes a while."""
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.2)
