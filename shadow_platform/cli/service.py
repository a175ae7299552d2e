"""Commands that keep running: the service with its shadow worker and guard, and the Dagster UI with its daemon.

Upstream: bento.serve, definitions. Downstream: people; a supervisor restarts them in production.
"""

import logging
import os
import signal
import subprocess
import sys
from importlib.util import find_spec

from shadow_platform.cli.runs import prepare_dagster_home
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.settings import load_settings
from shadow_platform.telemetry.logs import configure_logging, say
from shadow_platform.use_cases import load_use_case

LOGGER = logging.getLogger("shadow_platform.serve")


def serve_until_stopped(use_case: str, port: int | None, workers: int, *, shadow: bool, guard: bool) -> None:
    """Serve until SIGINT or SIGTERM, then drain; raises ``ShadowPlatformError`` when it does not become ready."""
    from bento.serve import running_service

    settings = load_settings()
    configure_logging(settings, "serve", load_use_case(use_case).name)
    stop, port = {signal.SIGINT, signal.SIGTERM}, port or settings.port
    shares_output = settings.log_format == "json"
    with running_service(
        settings, use_case, port, workers, shadow=shadow, guard=guard, shares_output=shares_output
    ) as service:
        parts = ", ".join(child.name for child in service.children)
        told = f"serving {use_case} at {service.url}, documents at {service.url}/docs"
        told = told if "predictor" in settings.roles else f"{parts} of {use_case}"
        say(settings, LOGGER, f"{told}; stop with Ctrl-C")
        service.wait(stop)


def run_dagster(port: int) -> None:
    """Run ``dagster dev`` on the platform's instance until stopped."""
    settings = load_settings()
    prepare_dagster_home(settings)
    if find_spec("dagster_webserver") is None:
        raise ShadowPlatformError("dagster-webserver is not installed; run `make setup`")
    command = [sys.executable, "-m", "dagster", "dev", "-m", "shadow_platform.definitions", "-p", str(port)]
    if settings.log_format == "json":
        command += ["--log-format", "json"]
    environment = {**os.environ, "SHADOW_HOME": str(settings.layout.home)}
    configure_logging(settings, "ui")
    say(settings, LOGGER, f"Dagster UI at http://127.0.0.1:{port}; stop with Ctrl-C")
    process = subprocess.Popen(command, env=environment)
    try:
        process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
