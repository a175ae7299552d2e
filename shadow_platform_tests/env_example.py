"""Renders ``.env.example`` and ``docs/configuration.md`` from the settings, so that neither can say anything else.

Upstream: settings. Downstream: ``make envfile``, which writes both files, and the tests that hold them equal.
"""

from pathlib import Path
from typing import get_args

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
and versioned with it. Some settings are read and not used yet: see [Limits](limits.md).

| variable | default | meaning |
|---|---|---|
"""


def _choices(field: FieldInfo) -> tuple[str, ...]:
    return tuple(value for value in get_args(field.annotation) if isinstance(value, str))


def _default(field: FieldInfo) -> str:
    return "" if field.default is None else str(field.default)


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
        choices = f" ({', '.join(_choices(field))})" if _choices(field) else ""
        default = f"`{_default(field)}`" if _default(field) else "unset"
        rows.append(f"| `{name.upper()}` | {default} | {field.description}{choices} |\n")
    return CONFIGURATION_HEADER + "".join(rows)


if __name__ == "__main__":
    ENV_EXAMPLE.write_text(render_env_example(), encoding="utf-8")
    CONFIGURATION.write_text(render_configuration(), encoding="utf-8")
