"""Renders ``.env.example`` and ``docs/configuration.md`` from the settings, so that neither can say anything else.

Upstream: settings. Downstream: ``make envfile``, which writes both files, and the tests that hold them equal.
"""

from pathlib import Path
from typing import get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from shadow_platform.settings import Settings

ENV_EXAMPLE = Path(".env.example")
CONFIGURATION = Path("docs/configuration.md")

ENV_HEADER = """\
# Every setting of the platform, with its default. Copy to .env and change what you need; the environment wins over it.
# Written by `make envfile` from shadow_platform/settings.py.
"""
CONFIGURATION_HEADER = """\
# Configuration

One typed class, `shadow_platform/settings.py`, reads the environment, and `.env` in the working directory for what the
environment does not set. Nothing else in the platform looks at the environment. A bad value stops the start with one
line that names it. An empty value means unset. This page is written by `make envfile`.

What differs between products (windows, thresholds, policies) is not configuration but part of the use case, reviewed
and versioned with it. Where a setting replaces a limit of every use case, it does so only if it is set: its default
changes none of them ([Decisions](decisions.md#limits-of-the-environment)).

What is marked **secret** is never printed: give it by a reference to a secret store, or in a file that nobody else may
read. Units stand in the meaning.

| variable | kind | default | meaning |
|---|---|---|---|
"""
WORDS = {
    bool: "yes or no",
    int: "whole number",
    float: "number",
    Path: "path",
    SecretStr: "text, **secret**",
    str: "text",
}
BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def _choices(field: FieldInfo) -> tuple[str, ...]:
    return tuple(value for value in get_args(field.annotation) if isinstance(value, str))


def _default(field: FieldInfo) -> str:
    return "" if field.default is None else str(field.default)


def _kind(field: FieldInfo) -> str:
    """What a value must be: its choices, or its type and bounds."""
    if _choices(field):
        return " \\| ".join(f"`{choice}`" for choice in _choices(field))
    types = get_args(field.annotation) or (field.annotation,)
    bounds = [
        f"{word} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, word in BOUNDS.items()
        if hasattr(rule, name)
    ]
    return ", ".join([next(word for kind, word in WORDS.items() if kind in types), *bounds])


def render_env_example() -> str:
    """Text of ``.env.example``: per setting its meaning, then its name with the default."""
    blocks = []
    for name, field in Settings.model_fields.items():
        choices = f" ({' | '.join(_choices(field))})" if _choices(field) else ""
        blocks.append(f"# {field.description}{choices}\n# {name.upper()}={_default(field)}\n")
    return "\n".join([ENV_HEADER, *blocks])


def render_configuration() -> str:
    """Text of ``docs/configuration.md``: one row a setting."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = f"`{_default(field)}`" if _default(field) else "unset"
        meaning = str(field.description).replace("<", "&lt;")
        rows.append(f"| `{name.upper()}` | {_kind(field)} | {default} | {meaning} |\n")
    return CONFIGURATION_HEADER + "".join(rows)


if __name__ == "__main__":
    ENV_EXAMPLE.write_text(render_env_example(), encoding="utf-8")
    CONFIGURATION.write_text(render_configuration(), encoding="utf-8")
