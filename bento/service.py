"""The BentoML service: mounts the application of the configured use case and opens one worker a process.

``bentoml serve bento.service:ShadowPredictor``. Upstream: settings. Downstream: callers, through ``bento.api.app``.
BentoML's request spans cost about 40 % of a worker's time even when not sampled, and its traffic metrics about 18 %:
requests of the contract go past the first; ``bento.answering.metrics`` replaces the second.
"""

import os
import resource
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import bentoml
from _bentoml_sdk import Service  # type: ignore[import-untyped]  # the class that bentoml.service makes
from bentoml._internal.log import SERVER_LOGGING_CONFIG
from starlette.types import ASGIApp

from bento.api.access import require_tokens, with_cors
from bento.api.app import Shortcut, Site, build_app, build_endpoints
from bento.package import seed_from_package, with_packaged_use_case
from bento.worker import Worker
from shadow_platform.settings import Settings, load_settings
from shadow_platform.telemetry.logs import adopt_logging, formatter_of
from shadow_platform.use_cases import load_use_case

MAX_OPEN_FILES = 65_536
"""Every connection is a file. At the usual limit of 1,024 a crowd of callers keeps the log from being opened."""


def raise_file_limit() -> None:
    """Let this process open as many files as the system allows it, up to ``MAX_OPEN_FILES``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def format_server_logs(settings: Settings, use_case: str) -> None:
    """Have BentoML's handlers, of this process and of the arbiter that starts its logging later, write our lines."""
    adopt_logging(settings, "service", use_case)
    if settings.log_format == "json":
        formatters = SERVER_LOGGING_CONFIG["formatters"]
        formatters["traced"] = {"()": partial(formatter_of, settings, "service", use_case)}


raise_file_limit()
SETTINGS = with_packaged_use_case(load_settings())
USE_CASE = load_use_case(SETTINGS.shadow_use_case)
format_server_logs(SETTINGS, USE_CASE.name)
require_tokens(SETTINGS)
SITE = Site()
ENDPOINTS = build_endpoints(USE_CASE, SETTINGS, SITE)


class ContractService(Service[Any]):  # type: ignore[misc]
    """A BentoML service whose contract routes are answered without its middlewares."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """BentoML's application behind the shortcut, and behind the rules for browsers if there are any."""
        application: ASGIApp = super().to_asgi(is_main)
        return with_cors(SETTINGS, Shortcut(ENDPOINTS, application))


@bentoml.asgi_app(build_app(ENDPOINTS, SITE), path="/")
@bentoml.service(
    name="shadow_predictor",
    service_class=ContractService,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
class ShadowPredictor:
    """Answers from the champion; see ``/docs``."""

    def __init__(self) -> None:
        seed_from_package(SETTINGS.layout)
        self.worker = Worker(SETTINGS, USE_CASE)
        self.worker.start()
        SITE.worker = self.worker

    def __is_ready__(self) -> bool:
        return self.worker.readiness()[0]

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Flush the log."""
        self.worker.stop()
