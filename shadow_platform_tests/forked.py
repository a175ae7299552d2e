"""Processes forked from a server that imported every tool of training once: importing costs more than the work.

Belongs here: starting one and waiting for it. Does not belong here: what they do. Downstream: tests of kills, races and
interrupts of trainings and transitions.
"""

import multiprocessing
import os
import warnings
from collections.abc import Callable
from functools import cache
from multiprocessing.context import ForkServerProcess
from typing import Any

from shadow_platform.settings import Settings

TIMEOUT_S = 120.0
PRELOADED = (
    "alembic.command",
    "dagster_mlflow",
    "feast.infra.registry.sql",
    "fsspec",
    "git",
    "matplotlib.backends.backend_agg",
    "matplotlib.pyplot",
    "mlflow.sklearn",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "onnxruntime",
    "skl2onnx",
    "skops.io",
    "sklearn.ensemble",
    "shadow_platform.adapters.deployment",
    "shadow_platform.adapters.feature_store.offline",
    "shadow_platform.adapters.feature_store.sqlite",
    "shadow_platform.adapters.lake",
    "shadow_platform.adapters.log",
    "shadow_platform.adapters.pages.card",
    "shadow_platform.adapters.onnx_export",
    "shadow_platform.adapters.registry",
    "shadow_platform.adapters.tracking",
    "shadow_platform.adapters.pictures.training",
    "shadow_platform.assets.training",
)

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(list(PRELOADED))


def started(task: Callable[..., Any], *arguments: Any) -> ForkServerProcess:
    """A process that does ``task(*arguments)``, with no setting of anybody's shell."""
    _let_the_server_import()
    process = FORKSERVER.Process(target=_alone, args=(task, *arguments))
    process.start()
    return process


@cache
def _let_the_server_import() -> None:
    """Wait for the first process of the server: what the imports take is not taken from anybody's time."""
    first = FORKSERVER.Process(target=os.getpid)
    first.start()
    first.join()


def ended(process: ForkServerProcess) -> int | None:
    """Exit code of a process; one that does not end in time is killed, and has none of its own."""
    process.join(TIMEOUT_S)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return process.exitcode


def _alone(task: Callable[..., Any], *arguments: Any) -> None:
    for name in (*Settings.model_fields, "dagster_home"):
        os.environ.pop(name.upper(), None)
    Settings.model_config["env_file"] = None
    warnings.simplefilter("ignore")
    task(*arguments)
