"""``deploy/compose/compose.yaml`` as Docker Compose reads it: merged, and with the variables of an ``.env`` filled in.

Belongs here: reading. Does not belong here: assertions. Upstream: deploy/compose. Downstream: tests of it.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from shadow_platform_tests.sources import REPOSITORY

FOLDER = REPOSITORY / "deploy" / "compose"
FILE = FOLDER / "compose.yaml"
EXAMPLE = FOLDER / ".env.example"
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?:(?P<how>:?[-?])(?P<rest>[^}]*))?\}")


def example() -> dict[str, str]:
    """The variables of ``.env.example``."""
    lines = EXAMPLE.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def filled() -> dict[str, str]:
    """``.env.example`` after somebody has put in what may not stay empty."""
    given = dict.fromkeys(required(), "given0")
    return {**example(), **{name: value for name, value in given.items() if not example().get(name)}}


def variables() -> dict[str, set[str]]:
    """How each variable is written in the file: ``:?`` required, ``-`` and ``:-`` with what follows as the default."""
    found: dict[str, set[str]] = {}
    for match in _VARIABLE.finditer(_text()):
        if match["name"]:
            how = match["how"] or ""
            found.setdefault(match["name"], set()).add(how if how == ":?" else how + (match["rest"] or ""))
    return found


def required() -> set[str]:
    """Variables without which Compose stops."""
    return {name for name, forms in variables().items() if ":?" in forms}


def composed(environment: Mapping[str, str]) -> dict[str, Any]:
    """The file with its variables filled in; raises ``KeyError`` for a required one that is empty."""

    def value(match: "re.Match[str]") -> str:
        if match["name"] is None:
            return "$"
        given = environment.get(match["name"], "")
        if not given and match["how"] == ":?":
            raise KeyError(match["name"])
        return given or (match["rest"] or "" if match["how"] in {"-", ":-"} else "")

    def within(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: within(inner) for name, inner in part.items()}
        if isinstance(part, list):
            return [within(inner) for inner in part]
        return _VARIABLE.sub(value, part) if isinstance(part, str) else part

    document: dict[str, Any] = within(_read())
    return document


@cache
def _read() -> Any:
    return yaml.safe_load(FILE.read_text())


def services() -> dict[str, dict[str, Any]]:
    """Every service, filled in."""
    found: dict[str, dict[str, Any]] = composed(filled())["services"]
    return found


def is_ours(service: Mapping[str, Any]) -> bool:
    """Whether a service runs one of the platform's own images."""
    return str(service["image"]).startswith("shadow-platform/")


def _text() -> str:
    return "\n".join(line for line in FILE.read_text().splitlines() if not line.lstrip().startswith("#"))
