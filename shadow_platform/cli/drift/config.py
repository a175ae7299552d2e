"""The file of ``--config``: which columns are compared as what, and by which limits.

Belongs here: reading and refusing. Does not belong here: what the limits mean (``contracts.policies``). Upstream: YAML,
TOML or JSON. Downstream: ``comparing``.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.policies import DriftPolicy, Threshold
from shadow_platform.contracts.use_case import FeatureKind

# Two files are one window each; these say which requests of a table are a window.
OF_TABLES = ("window", "window_rows", "reference", "segments")
OF_FILES = tuple(field.name for field in fields(DriftPolicy) if field.name not in OF_TABLES)


class FilesConfig(BaseModel):
    """How the columns of two files are read, and the limits of the verdict on them.

    Attributes:
        kinds: column -> numeric or categorical; the others by their type.
        monitored: columns that count in the verdict, at least one; ``None``: all.
        time_column, score_column, weight_column: columns of special meaning, if they are there.
        limits_set: limits that the file sets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: DriftPolicy = Field(default_factory=DriftPolicy)
    kinds: dict[str, FeatureKind] = Field(default_factory=dict)
    monitored: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    time_column: Annotated[str, Field(min_length=1)] = "requested_at"
    score_column: Annotated[str, Field(min_length=1)] = "score"
    weight_column: Annotated[str, Field(min_length=1)] = "weight"
    limits_set: frozenset[str] = frozenset()

    @model_validator(mode="after")
    def _require_distinct(self) -> Self:
        if len(self.special) < 3:
            raise ShadowPlatformError(
                f"time_column={self.time_column!r}, score_column={self.score_column!r}, "
                f"weight_column={self.weight_column!r}; expected three different columns"
            )
        return self

    @property
    def special(self) -> dict[str, str]:
        """Column -> the name by which the platform knows it."""
        return {self.time_column: "requested_at", self.score_column: "score", self.weight_column: "weight"}

    def with_policy(self, policy: DriftPolicy) -> "FilesConfig":
        """The same columns, other limits."""
        return self.model_copy(update={"policy": policy})


def read_config(path: Path) -> FilesConfig:
    """Configuration in a file; raises ``ShadowPlatformError`` that names the field, its value and what was expected."""
    values = _parsed(path)
    columns = [name for name in FilesConfig.model_fields if name not in ("policy", "limits_set")]
    _require_known(path, "", values, [*OF_FILES, *columns])
    limits = {name: values.pop(name) for name in OF_FILES if name in values}
    for name, limit in limits.items():
        if isinstance(limit, Mapping):
            _require_known(path, f"{name}.", limit, [field.name for field in fields(Threshold)])
    try:
        policy = TypeAdapter(DriftPolicy).validate_python(limits)
        return FilesConfig.model_validate({"policy": policy, "limits_set": frozenset(limits), **values})
    except ValidationError as error:
        raise ShadowPlatformError("\n".join(_said(path, detail) for detail in error.errors())) from error
    except ShadowPlatformError as error:
        raise ShadowPlatformError(f"{path}: {error}") from error


def fields_help() -> str:
    """One line a field of the file, with its default."""
    policy = DriftPolicy()
    lines = [f"{name}: {_shown(getattr(policy, name))}" for name in OF_FILES]
    columns = FilesConfig()
    lines += ["kinds: {column: numeric|categorical}", "monitored: [column, ...]"]
    lines += [f"{name}: {getattr(columns, name)}" for name in ("time_column", "score_column", "weight_column")]
    return "\n".join(lines)


def _shown(value: object) -> str:
    if is_dataclass(value) and not isinstance(value, type):
        known = {field.name: getattr(value, field.name) for field in fields(value)}
        return "{" + ", ".join(f"{name}: {part}" for name, part in known.items() if part is not None) + "}"
    return json.dumps(value)


def _parsed(path: Path) -> dict[str, Any]:
    readers: dict[str, Callable[[str], Any]] = {
        ".json": json.loads,
        ".toml": tomllib.loads,
        ".yaml": _yaml,
        ".yml": _yaml,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ShadowPlatformError(f"--config {path}: extension {path.suffix!r}; expected {', '.join(readers)}")
    try:
        values = reader(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ShadowPlatformError(f"--config {path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ShadowPlatformError(f"--config {path} holds {type(values).__name__}; expected fields and their values")
    return values


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _require_known(path: Path, prefix: str, values: Mapping[Any, Any], known: list[str]) -> None:
    for name in values:
        if name in known:
            continue
        if name in OF_TABLES and not prefix:
            raise ShadowPlatformError(
                f"{path}: {name} = {_text(values[name])}: says which requests of a table are compared; a file is "
                "compared whole, leave it out"
            )
        near = get_close_matches(str(name), known, n=1)
        hint = f"did you mean {prefix}{near[0]}?" if near else f"expected one of {', '.join(known)}"
        raise ShadowPlatformError(f"{path}: {prefix}{name} = {_text(values[name])}: unknown field; {hint}")


def _said(path: Path, detail: Mapping[str, Any]) -> str:
    # Pydantic counts the classes of a union as a level of its own.
    place = ".".join(str(part) for part in detail["loc"] if not str(part)[:1].isupper())
    message = str(detail["msg"])
    return f"{path}: {place} = {_text(detail['input'])}: {message[:1].lower()}{message[1:]}"


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else json.dumps(value, default=str)
