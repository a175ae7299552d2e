"""What a Bento must hold to run by itself: the modules its processes reach, and the distributions those import.

Belongs here: following imports through source text (nothing is imported for it) and through the metadata of installed
distributions. Does not belong here: copying and building (``bento.build``). Upstream: the processes' entry modules.
Downstream: ``bento.build``.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

from shadow_platform.contracts.errors import BundleError

PROCESSES = ("bento.service", "bento.shadow", "bento.shadowing.lane_child", "bento.guard", "bento.package")
"""What is started from a Bento: the service, the shadow worker, the guard, the check of the package itself."""
_FEATURE_STORE = "shadow_platform.adapters.feature_store"
NAMED_IN_CONFIGURATION = {
    "local": (f"{_FEATURE_STORE}.offline", f"{_FEATURE_STORE}.sqlite"),
    "scale": (f"{_FEATURE_STORE}.ray_offline", f"{_FEATURE_STORE}.redis"),
}
"""Modules that only Feast's configuration names, by ``FEATURE_STORE``."""
LOADED_BY_NAME = ("fastapi-offline", "pyarrow")
"""Distributions no import statement shows: assets of the documents, pandas' Parquet engine."""
OURS = ("bento", "feature_repo", "shadow_platform")


def reached_modules(roots: Iterable[str], ours: Iterable[str] = OURS) -> tuple[dict[str, Path], set[str]]:
    """Source file of every module of ours that the roots import, by name; and the other top-level modules imported.

    Imports inside functions count, and so does a string that is exactly the name of a module: ``python -m`` starts it.

    Args:
        ours: top-level packages whose source is wanted; a top-level module of no installed distribution counts as well.

    Raises:
        BundleError: a root has no source.
    """
    copied = set(ours)
    known = _distributions()
    found: dict[str, Path] = {}
    others: set[str] = set()
    waiting = list(roots)
    for root in waiting:
        if _source(root) is None:
            raise BundleError(f"module {root} has no source to be packaged; let it be an importable Python module")
    while waiting:
        name = waiting.pop()
        top, parent = name.partition(".")[0], name.rpartition(".")[0]
        if name in found or top in sys.stdlib_module_names:
            continue
        if top in known and top not in copied:
            others.add(top)
            continue
        source = _source(name)
        if source is not None:
            found[name] = source
            waiting.extend([parent] if parent else [])
            waiting.extend(_imported(source, name))
    return found, others


def pinned_requirements(top_levels: Iterable[str]) -> list[str]:
    """``name==version`` of every distribution behind these top-level modules, and of all that those require."""
    known = _distributions()
    waiting = [Requirement(name) for top in top_levels for name in known[top]]
    waiting.extend(Requirement(name) for name in LOADED_BY_NAME)
    seen: set[tuple[str, frozenset[str]]] = set()
    pins: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        extras = frozenset(requirement.extras)
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError:
            continue
        if (installed.name, extras) in seen:
            continue
        seen.add((installed.name, extras))
        pins.add(f"{installed.name.lower().replace('_', '-')}=={installed.version}")
        waiting.extend(needed for needed in map(Requirement, installed.requires or []) if _is_needed(needed, extras))
    return sorted(pins)


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Names of distributions by top-level module; reading them all takes half a second."""
    return packages_distributions()


def _is_needed(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _source(name: str) -> Path | None:
    """File of a module, found by its path below its top-level package; ``None`` when it is no Python source."""
    top, *rest = name.split(".")
    spec = find_spec(top) if top.isidentifier() else None
    if spec is None:
        return None
    for location in spec.submodule_search_locations or ():
        place = Path(location, *rest)
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if file.is_file() and (rest or file.name == "__init__.py"):
                return file
    origin = Path(spec.origin or "")
    return origin if not rest and origin.suffix == ".py" else None


def _imported(source: Path, name: str) -> Iterator[str]:
    package = name.split(".") if source.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("bento."):
            yield node.value
