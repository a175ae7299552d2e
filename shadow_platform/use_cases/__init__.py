"""The products on the platform, by name; each package declares one UseCase value and nothing that runs.

Belongs here: finding a use case. Does not belong here: anything one of them declares. Upstream: contracts. Downstream:
definitions, service, shadow worker, command line.

A use case is a package below this one that exposes ``USE_CASE``, or an entry point in the group
``shadow_platform.use_cases`` of another installed package, or any value addressed as ``package.module:ATTRIBUTE``.
"""

import pkgutil
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.use_case import UseCase

ENTRY_POINT_GROUP = "shadow_platform.use_cases"
ATTRIBUTE = "USE_CASE"


@lru_cache(maxsize=1)
def _addresses() -> dict[str, str]:
    installed = {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}
    shipped = {module.name: f"{__name__}.{module.name}:{ATTRIBUTE}" for module in pkgutil.iter_modules(__path__)}
    return installed | shipped


def use_case_names() -> tuple[str, ...]:
    """Names of every use case that can be loaded, sorted. Imports none of them."""
    return tuple(sorted(_addresses()))


def load_use_case(name: str) -> UseCase:
    """Use case by name, or by ``package.module:ATTRIBUTE``; raises ``UseCaseError``.

    >>> [load_use_case(name).name == name for name in use_case_names()].count(False)
    0
    """
    address = name if ":" in name else _addresses().get(name)
    if address is None:
        known = ", ".join(use_case_names())
        raise UseCaseError(
            f"use case {name!r} is unknown; expected one of {known}, or package.module:ATTRIBUTE; "
            "name one of them, in SHADOW_USE_CASE or on the command line"
        )
    module, _, attribute = address.partition(":")
    try:
        value = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UseCaseError(
            f"use case {name!r} cannot be loaded from {address!r}: {error}; expected an importable module with that "
            "attribute; install its package or correct the name"
        ) from error
    if not isinstance(value, UseCase):
        raise UseCaseError(
            f"{address!r} is a {type(value).__name__}; expected a UseCase value; let the attribute hold one"
        )
    return value
