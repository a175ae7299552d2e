"""Fixtures every test may use: a home folder, ports, processes, an environment that is nobody's.

Belongs here: what several folders of tests need. Does not belong here: data of one stage or use case.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import prometheus_client
import pytest
from hypothesis import settings

from bento import serve
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import Settings
from shadow_platform_tests import processes
from shadow_platform_tests.browser.chromium import chromium_path
from shadow_platform_tests.chaos.faketime import faketime_library
from shadow_platform_tests.processes import Started

pytest_plugins = ["shadow_platform_tests.feature_servers"]
REPOSITORY = Path(__file__).parents[1]
IN_MEMORY = "MutexValue"
StartProcess = Callable[..., Started]


def pytest_configure(config: pytest.Config) -> None:
    """Counters of the test process live in memory: files would be shared by every registry of the process.

    ``prometheus_client`` decides at its first import, by a variable that Feast and BentoML set when they are imported.
    No terminal decides where tables break; a console reads its size when it is made, which is at its module's import.
    A shell that starts the tests in the background lets them ignore SIGINT; Dagster then ignores SIGTERM too, and so
    would every process that a test starts and ends.
    """
    _try_the_same_examples(config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for size in ("COLUMNS", "LINES"):
        os.environ.pop(size, None)
    _keep_ports_apart()
    values = prometheus_client.values.ValueClass
    if values.__name__ != IN_MEMORY:
        raise pytest.UsageError(f"prometheus_client keeps values as {values.__name__}; unset PROMETHEUS_MULTIPROC_DIR")


def _try_the_same_examples(config: pytest.Config) -> None:
    """Hypothesis tries the same examples in every run, however long a busy machine takes over one.

    Others are looked for with ``--hypothesis-seed=random``, or with a profile of one's own.
    """
    if not config.getoption("--hypothesis-profile"):
        same = settings(settings.get_profile("ci"), derandomize=config.getoption("--hypothesis-seed") is None)
        settings.register_profile("same", same)
        settings.load_profile("same")


def _keep_ports_apart() -> None:
    """Workers draw ports from ranges of their own: one that is drawn and not listened on yet looks free to others."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    n_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    size = (serve.FIRST_OUTGOING_PORT - serve.FIRST_FREE_PORT) // n_workers
    serve.FIRST_FREE_PORT += number % n_workers * size
    serve.FIRST_OUTGOING_PORT = serve.FIRST_FREE_PORT + size


def pytest_report_header() -> list[str]:
    """Say so when a part is left out."""
    missing = {"chromium": chromium_path(), "faketime": faketime_library()}
    return [
        f"no {name}: the tests that need it are left out; apt-get install {name}"
        for name in missing
        if not missing[name]
    ]


@pytest.fixture(autouse=True)
def quiet_env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No setting of the developer's shell, ``.env`` or another test reaches a test; nothing is written outside it.

    Settings are taken out for good, before and after: MLflow exports the store it is pointed at, and fixtures of the
    next module, which are made before this one, would use it. It also keeps the experiment that was chosen last, whose
    id means another one in the next store.
    """
    _forget_settings()
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    monkeypatch.setenv("SHADOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FEAST_REPO_PATH", str(REPOSITORY / "feature_repo"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    yield
    _forget_settings()


def _forget_settings() -> None:
    for name in (*Settings.model_fields, "dagster_home", "mlflow_experiment_id"):
        os.environ.pop(name.upper(), None)
    if (mlflow := sys.modules.get("mlflow.tracking.fluent")) is not None:
        vars(mlflow)["_active_experiment_id"] = None


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Paths below the home folder of this test, the one ``SHADOW_HOME`` names."""
    return Layout(tmp_path / "home")


@pytest.fixture
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture
def free_port() -> int:
    """A port to listen on."""
    return processes.free_port()


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[StartProcess]:
    """Start processes that are ended, with all their children, when the test ends.

    Call as ``start_process(["-m", "module", ...], SETTING="value")``: runs this interpreter in the test's folder.
    """
    started: list[Started] = []

    def start(arguments: Sequence[str], cwd: Path | None = None, **env: str) -> Started:
        output = tmp_path / f"process-{len(started)}.log"
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(REPOSITORY), **env}
        process = processes.start([sys.executable, *arguments], output, environment, cwd or tmp_path)
        started.append(process)
        return process

    yield start
    for process in reversed(started):
        process.stop()
