"""Writes the package, whole or not at all.

Belongs here: names, rendering, files. Does not belong here: what the data says (``table``). Upstream: table, windows,
templates. Downstream: the command line.
"""

import keyword
import re
import shutil
import tempfile
import tomllib
from collections.abc import Callable
from datetime import date, timedelta
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.scaffold.table import TEXT_PATTERN, EventTable, identifier
from shadow_platform.scaffold.windows import divide
from shadow_platform.use_cases import use_case_names

NAME, HISTORY, SUFFIX = "NAME", "HISTORY", ".jinja"
FEAST_CONFIGURATIONS = ("feature_store.yaml", "feature_store.scale.yaml")
HISTORY_DAYS = 14
TAKEN_KINDS = {"any_text", "data", "events", "outcomes", "requests"}


def check_name(name: str) -> None:
    """Raise ``UseCaseError`` unless a package and a use case can be called so."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UseCaseError(
            f"{name!r} is no name of a package; expected lower case letters, digits and _ after a letter"
        )
    if name in use_case_names():
        raise UseCaseError(f"use case {name!r} exists already; choose another name")
    if find_spec(name) is not None:
        raise UseCaseError(f"{name!r} is the name of an installed package; choose another name")


def write_package(name: str, title: str, table: EventTable, folder: Path) -> Path:
    """Write the package of a use case into ``folder / name``, which must not exist; returns that path.

    Raises:
        UseCaseError: the name or the folder is taken, or the recording is too short.
    """
    check_name(name)
    if not title.isprintable() or "\\" in title or '"""' in title:
        raise UseCaseError(f"title {title!r} is not one line of plain text; give another --title")
    target = folder / name
    if target.exists():
        raise UseCaseError(f"{target} exists already; choose another name or --folder")
    context = _context(name, title, table)
    folder.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
    try:
        _write(beside, context)
        (beside / name / "data").mkdir()
        shutil.copyfile(table.path, beside / name / "data" / context["file_name"])
        for name_of_file in FEAST_CONFIGURATIONS:
            text = (files("feature_repo") / name_of_file).read_text("utf-8")
            (beside / "feast_repo" / name_of_file).write_text(text, encoding="utf-8")
        beside.chmod(0o755)
        beside.rename(target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return target


def _write(root: Path, context: dict[str, Any]) -> None:
    with as_file(files(__package__) / "templates") as templates:
        environment = Environment(
            loader=FileSystemLoader(templates),
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {"python": _python, "line": _line}
        environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}  # TOML has no surrogate pairs
        for template in sorted(environment.list_templates(extensions=["jinja"])):
            place = template.removesuffix(SUFFIX).replace(NAME, context["name"]).replace(HISTORY, context["view"])
            path = root / place
            text = environment.get_template(template).render(context)
            _check_syntax(text, place)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def _check_syntax(text: str, place: str) -> None:
    """Raise ``UseCaseError`` unless a file is what its name says."""
    check = _SYNTAX.get(Path(place).suffix)
    try:
        if check:
            check(text)
    except (SyntaxError, ValueError, duckdb.Error) as error:
        raise UseCaseError(
            f"{place} would not be sound ({error}); give the columns of the file plainer names"
        ) from error


def _check_sql(text: str) -> None:
    with duckdb.connect() as con:
        con.extract_statements(text)


_SYNTAX: dict[str, Callable[[str], Any]] = {
    ".py": lambda text: compile(text, "<package>", "exec"),
    ".sql": _check_sql,
    ".toml": tomllib.loads,
}


def _python(value: object) -> str:
    """A value as ruff would have it written."""
    if isinstance(value, date):
        return repr(value).removeprefix("datetime.")
    is_plain = isinstance(value, str) and value.isprintable() and '"' not in value and "\\" not in value
    return f'"{value}"' if is_plain else repr(value)


def _line(text: str) -> str:
    """A text that stays on its line."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _check_features(table: EventTable, asked: str, outcome: str) -> None:
    histories = [asked, outcome, *(f"{column.name}_mean" for column in table.numeric)]
    names = [column.name for column in table.inputs] + [f"{name}_{HISTORY_DAYS}d" for name in histories]
    for name in {name for name in names if names.count(name) > 1}:
        raise UseCaseError(
            f"{table.path}: a column and the history of another would both be called {name!r}; rename the column, or "
            "take it out with --leave-out"
        )


def _context(name: str, title: str, table: EventTable) -> dict[str, Any]:
    roles = {role: identifier(column) for role, column in table.roles.columns().items() if not role.endswith("_at")}
    asked = identifier(table.path.stem)
    outcome = roles["label"].removeprefix("is_").removeprefix("has_")
    asked = "records" if asked in TAKEN_KINDS | {outcome} else asked
    _check_features(table, asked, outcome)
    columns = {roles[role]: getattr(table.roles, role) for role in roles}
    columns |= {column.name: column.column for column in table.inputs}
    segments = [column.name for column in table.inputs if column.kind == "categorical"][:1]
    return {
        "name": name,
        "title": title,
        "table": table,
        "last": table.end - timedelta(days=1),
        "roles": table.roles,
        **roles,
        "text_pattern": TEXT_PATTERN,
        "asked": asked,
        "outcome": outcome,
        "view": f"{roles['entity'].removesuffix('_id')}_history",
        "history_days": HISTORY_DAYS,
        "days": divide(table.first, table.end, table.horizon_days, HISTORY_DAYS),
        "segments": segments,
        "file_name": f"{asked}{table.path.suffix.lower()}",
        "renamed": {name: column for name, column in columns.items() if name != column},
    }
