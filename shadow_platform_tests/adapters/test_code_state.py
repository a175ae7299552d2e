"""What program trains a model is told truly: its sources, its builder's settings, its commit, and no more than that."""

import ast
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from shadow_platform.adapters import code_state as module
from shadow_platform.adapters.code_state import code_state, described, environment, source_digest
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.domain.training import SOURCES, fingerprint
from shadow_platform.use_case_kit import models as kit
from shadow_platform.use_cases import load_use_case

PRODUCTS = ("flights", "churn", "fraud", "credit")
OwnFamily: Any = kit.Family  # of whatever makes its models here
ROOT = Path(module.__file__).parents[1]
# What the sources import and what decides no byte of a bundle that another fingerprint does not tell already.
NO_SOURCES = {
    "contracts/errors.py": "what is raised is not in a bundle",
    "contracts/lineage.py": "records of frames lie beside them",
    "contracts/policies/__init__.py": "offers what its modules declare; those that decide are sources",
    "contracts/use_case.py": "its values are in the fingerprints of features and configuration, defaults included",
    "domain/__init__.py": "a package without code",
    "resources/__init__.py": "opens adapters; those that make a bundle are sources themselves",
}


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, "-C", str(folder), *arguments]
    # A hook of git that runs these tests names its own repository in the environment.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in a checkout with one commit and a lock; git may be as slow as it likes."""
    monkeypatch.setattr(module, "GIT_TIMEOUT_S", 100.0)
    folder = tmp_path / "checkout" / "package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("a = 1\n")
    (folder.parent / "requirements.lock").write_text("numpy==2\n")
    _git(folder.parent, "init", "--quiet")
    _git(folder.parent, "add", ".")
    _git(folder.parent, "commit", "--quiet", "--message", "first")
    return folder


def test_a_clean_checkout_has_its_commit_and_lock(package: Path) -> None:
    state = code_state(package)

    assert state.git_commit == _git(package, "rev-parse", "HEAD")
    assert state.is_dirty is False
    assert state.lock_sha256 == hashlib.sha256(b"numpy==2\n").hexdigest()
    assert state.python == ".".join(map(str, sys.version_info[:3]))
    assert state.packages.keys() >= {"numpy", "scikit-learn", "onnxruntime", "skl2onnx"}


@pytest.mark.parametrize("name", ["__init__.py", "new.py"])
def test_a_change_that_is_not_committed_is_told(package: Path, name: str) -> None:
    (package / name).write_text("a = 2\n")

    assert code_state(package).is_dirty is True


def test_a_package_that_is_installed_inside_somebodys_checkout_has_no_commit(package: Path) -> None:
    installed = package.parent / "venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()

    state = code_state(installed)
    assert (state.git_commit, state.is_dirty, state.lock_sha256) == (None, None, None)


def test_a_checkout_without_a_commit_has_none(package: Path) -> None:
    _git(package.parent, "checkout", "--quiet", "--orphan", "empty")

    assert code_state(package).git_commit is None


def test_without_git_or_when_it_hangs_nothing_is_claimed(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    assert code_state(package).git_commit is None

    (tools / "git").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (tools / "git").chmod(0o755)
    monkeypatch.setattr(module, "GIT_TIMEOUT_S", 0.2)
    assert code_state(package).git_commit is None


def test_another_repository_in_the_environment_is_not_asked(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(package / "nowhere"))

    assert code_state(package).git_commit is not None


def test_every_source_that_decides_a_bundle_is_there() -> None:
    digests = [source_digest(path) for path in SOURCES]

    assert len(set(digests)) == len(SOURCES)


def test_what_the_sources_import_is_a_source_or_known_to_decide_nothing() -> None:
    files = [path for source in SOURCES for path in (ROOT / source, *(ROOT / source).rglob("*"))]
    imported = {path for file in files if file.suffix == ".py" for path in _own_imports(file)}

    assert {path for path in imported if not _is_told(path)} == NO_SOURCES.keys()


def _own_imports(file: Path) -> Iterator[str]:
    """Files of the platform that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.module, "a relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.startswith("shadow_platform.") and (spec := _spec(name)) is not None:
                yield str(Path(spec).relative_to(ROOT))


def _spec(name: str) -> str | None:
    """File of a module; none for what is not a module but a name in one."""
    try:
        found = find_spec(name)
    except ModuleNotFoundError:
        return None
    return found.origin if found else None


def _is_told(path: str) -> bool:
    return any(path == source or path.startswith(f"{source}/") for source in SOURCES)


def test_a_source_that_is_gone_is_an_error_not_an_empty_text() -> None:
    with pytest.raises(ShadowPlatformError, match=r"adapters/gone.py is no file or folder of package shadow_platform"):
        source_digest("adapters/gone.py")


def test_a_folder_is_told_by_every_file_and_not_by_what_python_keeps_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "own"
    (root / "part" / "inner").mkdir(parents=True)
    for name in ("__init__.py", "part/a.py", "part/inner/b.py"):
        (root / name).write_text(f"NAME = {name!r}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(module, "OWN", "own")
    first = source_digest("part")

    (root / "part" / "__pycache__").mkdir()
    (root / "part" / "__pycache__" / "a.pyc").write_bytes(b"\0\1")
    assert source_digest("part") == first
    (root / "part" / "inner" / "b.py").write_text("changed")
    assert source_digest("part") != first


def make(penalty: Any = 0.1) -> Callable[[], Any]:
    """A builder as use cases write them: a closure over its settings."""

    def build() -> Any:
        return penalty

    return build


class Family:
    """A builder as an object."""

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty

    def __call__(self) -> float:
        return self.penalty

    def build(self) -> float:
        return self.penalty


@dataclass(frozen=True, slots=True)
class Declared:
    """A builder as a dataclass, which has no ``__dict__``."""

    penalty: Any

    def __call__(self) -> Any:
        return self.penalty


def _told(build: Any) -> str:
    return fingerprint({"build": described(build)})


settings = st.floats(allow_nan=False) | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)
WAYS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "closure": make,
        "partial": lambda value: partial(make, value),
        "named argument": lambda value: partial(make, penalty=value),
        "closure within a closure": lambda value: make(make(value)),
        "lambda": lambda value: lambda: value,
        "default": lambda value: lambda kept=value: kept,
        "object": Family,
        "dataclass": Declared,
        "function in a dataclass": lambda value: Declared(make(value)),
        "dataclass in a closure": lambda value: make(Declared(make(value))),
        "own family": lambda value: OwnFamily("own", make(value), {"positive_weight": 1.0})(),
        "parameter of an own family": lambda value: OwnFamily("own", make, {"depth": 1})(depth=value),
        "method": lambda value: Family(value).build,
        "mapping": lambda value: make({"penalty": value}),
        "estimator": lambda value: make(LogisticRegression(C=value)),
    }
)


@pytest.mark.parametrize("way", WAYS)
@given(a=settings, b=settings)
def test_two_builders_are_told_apart_exactly_when_their_settings_differ(way: str, a: Any, b: Any) -> None:
    is_same = type(a) is type(b) and repr(a) == repr(b)

    assert (_told(WAYS[way](a)) == _told(WAYS[way](b))) == is_same


def test_lambdas_of_one_line_are_told_apart() -> None:
    first, second = (lambda: 1), (lambda: 2)

    assert _told(first) != _told(second)


def _first_make(*_: Any) -> Any:
    return LogisticRegression()


def _second_make(*_: Any) -> Any:
    return LogisticRegression(C=2)


def test_families_are_told_apart_by_what_makes_their_models() -> None:
    first, second = (kit.Family("own", build, {"positive_weight": 1.0})() for build in (_first_make, _second_make))

    assert _told(first) != _told(second)
    assert "source" in described(first)["state"]["family"]["state"]["make"]


def test_a_family_is_told_by_the_source_of_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _told(Declared(1))
    monkeypatch.setattr(module, "_module_digest", lambda name: f"changed {name}")

    assert _told(Declared(1)) != before


def test_a_function_nobody_keeps_the_source_of_is_told_by_what_it_does() -> None:
    texts = ("def f(): return 1", "def f(): return 2")
    found: list[dict[str, Any]] = [{"__name__": "nowhere"}, {"__name__": "nowhere"}, {"__name__": "nowhere"}]
    for text, names in zip((texts[0], texts[1], texts[0]), found, strict=True):
        exec(text, names)  # stands for a prompt

    one, two, again = (_told(names["f"]) for names in found)
    assert one != two
    assert one == again


def test_a_builder_that_knows_itself_can_be_told() -> None:
    def build(depth: int = 1) -> Any:
        return build(depth - 1) if depth else None

    assert _told(build) == _told(build)


def test_families_of_a_product_differ_in_code_or_are_one_family_with_other_settings() -> None:
    for name in PRODUCTS:
        told = [_told((spec.build, dict(spec.parameters))) for spec in load_use_case(name).models]
        assert len(set(told)) == len(told), name


def test_the_environment_names_what_made_the_model_and_not_what_else_is_installed() -> None:
    lightgbm = pytest.importorskip("lightgbm")
    linear = environment(Pipeline([("model", LogisticRegression())]))
    boosted = environment(Pipeline([("model", lightgbm.LGBMClassifier())]))

    assert {"python", "machine", "numpy", "scikit-learn", "skl2onnx", "onnxruntime", "pyarrow"} <= linear.keys()
    assert {"matplotlib", "pillow", "kiwisolver", "jinja2"} <= linear.keys(), "what draws the pictures on the card"
    assert boosted.keys() - linear.keys() == {"lightgbm", "onnxmltools"}
