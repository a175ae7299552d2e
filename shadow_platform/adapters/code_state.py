"""What program trains a model (importlib, inspect, git): sources, packages, commit.

Belongs here: reading them. Does not belong here: what they are a fingerprint of (``domain.training.fingerprints``).
Upstream: the installed packages, the checkout if there is one. Downstream: fingerprints of a bundle; tags of its MLflow
run and version.

Sources are read as text from where they were imported, so a wheel and a checkout of the same release say the same. The
commit is told beside a bundle, never in it: an unrelated commit makes no other model.
"""

import hashlib
import inspect
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache, partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.lineage import CodeState

OWN = "shadow_platform"
PACKAGES = (
    "jinja2",
    "kiwisolver",
    "matplotlib",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "pillow",
    "pyarrow",
    "pydantic",
    "scikit-learn",
    "scipy",
    "skl2onnx",
)
# Told of every program that has them; part of a fingerprint only where the family is made of them.
OPTIONAL_PACKAGES = ("lightgbm", "onnxmltools", "optuna")
GIT_TIMEOUT_S = 5.0


def code_state(package: Path | None = None) -> CodeState:
    """State of the program that runs.

    Args:
        package: folder of the package whose checkout is asked; default: the platform's own.
    """
    folder = package or Path(import_module(OWN).__path__[0])
    commit, is_dirty = _git_state(folder)
    lock = folder.parent / "requirements.lock"
    return CodeState(
        git_commit=commit,
        is_dirty=is_dirty,
        lock_sha256=hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
        python=platform.python_version(),
        packages=_versions([*PACKAGES, *OPTIONAL_PACKAGES]),
    )


def _git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Commit, and whether anything is not committed; ``None`` where the folder is not part of a checkout.

    An installed package may lie inside somebody's checkout without being part of it.
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    status = _git(folder, "status", "--porcelain=v2", "--branch")
    if status is None:
        return None, None
    lines = status.splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    return None if commit == "(initial)" else commit, any(not line.startswith("#") for line in lines)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; ``None`` when it is absent, refuses, or takes too long."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments],
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def environment(estimator: Any) -> dict[str, str]:
    """Versions that decide a model beside its code: Python, the kind of machine, and packages.

    Args:
        estimator: a model of the family; packages it is made of count, others that happen to be installed do not.
    """
    names = sorted({*PACKAGES, *_packages_of(estimator)})
    return {"python": platform.python_version(), "machine": platform.machine(), **_versions(names)}


def _versions(names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _packages_of(estimator: Any) -> set[str]:
    """Distributions that an estimator's parts come from; foreign families are exported by onnxmltools."""
    parts = [estimator, *estimator.get_params(deep=True).values()] if hasattr(estimator, "get_params") else [estimator]
    modules = {type(part).__module__.partition(".")[0] for part in parts if hasattr(part, "get_params")}
    foreign = modules - {"sklearn", OWN, "builtins"}
    distributions = {name for module in foreign for name in _distributions().get(module, ())}
    return {*distributions, "onnxmltools"} if distributions else set()


@lru_cache(maxsize=1)
def _distributions() -> Mapping[str, Sequence[str]]:
    return packages_distributions()


def source_digest(path: str) -> str:
    """SHA-256 over the text of a file of the platform, or of every file of a folder; the same wherever it lies."""
    place = files(OWN) / path
    if not place.is_file() and not place.is_dir():
        raise ShadowPlatformError(f"{path} is no file or folder of package {OWN}; install the platform again")
    return _sha256(json.dumps(dict(_texts(place, path)), sort_keys=True))


def _texts(place: Traversable, path: str) -> Iterator[tuple[str, str]]:
    if place.is_file():
        yield path, place.read_text(encoding="utf-8")
        return
    for entry in place.iterdir():
        if not entry.name.startswith((".", "__pycache__")):
            yield from _texts(entry, f"{path}/{entry.name}")


def described(value: Any, above: tuple[int, ...] = ()) -> Any:
    """A value with every function in it replaced by what decides what it does: its source and what it captured.

    >>> make = lambda penalty: (lambda: penalty)
    >>> described(make(0.1)) == described(make(0.1)), described(make(0.1)) == described(make(0.2))
    (True, False)
    """
    if id(value) in above:
        return {"again": type(value).__qualname__}

    def inner(part: Any) -> Any:
        return described(part, (*above, id(value)))

    if isinstance(value, partial):
        return {"partial": inner(value.func), "arguments": inner(value.args), "keywords": inner(value.keywords)}
    if isinstance(value, MethodType):
        return {"method": inner(value.__func__), "of": inner(value.__self__)}
    if isinstance(value, FunctionType):
        captured = {name: inner(cell) for name, cell in inspect.getclosurevars(value).nonlocals.items()}
        defaults = [inner(value.__defaults__), inner(value.__kwdefaults__)]
        return {**_source(value), "captured": captured, "defaults": defaults}
    if isinstance(value, type):
        return {"class": f"{value.__module__}.{value.__qualname__}", "source": _module_digest(value.__module__)}
    if isinstance(value, list | tuple):
        return [inner(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): inner(item) for name, item in value.items()}
    state = _state(value)
    return value if state is None else {"instance": inner(type(value)), "state": inner(state)}


def _state(value: Any) -> dict[str, Any] | None:
    """Attributes of an instance whose class decides what it does; ``None`` for plain data.

    Dataclasses may have slots in place of a ``__dict__``.
    """
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return vars(value) if callable(value) and hasattr(value, "__dict__") else None


def _source(function: FunctionType) -> dict[str, str | None]:
    """Name and source; bytecode where the name is nobody's own (a lambda) or nobody keeps the source (a prompt)."""
    name = f"{function.__module__}.{function.__qualname__}"
    source = _module_digest(function.__module__)
    has_own_name = source is not None and function.__name__ != "<lambda>"
    return {"function": name, "source": source, "bytecode": None if has_own_name else _bytecode(function.__code__)}


def _module_digest(name: str) -> str | None:
    try:
        return _sha256(inspect.getsource(sys.modules[name]))
    except (KeyError, OSError, TypeError):
        return None


def _bytecode(code_object: CodeType) -> str:
    constants = [_bytecode(item) if isinstance(item, CodeType) else repr(item) for item in code_object.co_consts]
    parts = [code_object.co_code.hex(), *code_object.co_names, *code_object.co_varnames, *constants]
    return _sha256("\0".join(parts))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
