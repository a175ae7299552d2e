"""The repository's own rules, as tests: charters, sizes, words, commands.

Belongs here: rules about the text of the repository that no linter knows. Does not belong here: who may import whom
(test_rooms and the import-linter contracts in pyproject.toml).
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from shadow_platform.cli import typer_app
from shadow_platform_tests.sources import REPOSITORY, parse, python_files, tracked_files

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 45
HEAVY = ("feast", "evidently", "bentoml", "mlflow", "matplotlib.pyplot")
FLIGHTS = re.compile(r"(?<!in[_ .-])(?<!pre)flight|airport|tail_?num", re.IGNORECASE)
KNOWS_FLIGHTS = (
    "shadow_platform/use_cases/flights/",
    "feature_repo/flights.py",
    "shadow_platform_tests/",
    "benchmarks/",
    "docs/",
)
DAGSTER_ROOMS = ("shadow_platform/assets/", "shadow_platform/automation/")
DAGSTER_MODULES = ("definitions.py", "jobs.py", "partitions.py", "resources.py")
NOTES_TO_SELF = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")

each_module = pytest.mark.parametrize("path", python_files(), ids=str)


@each_module
def test_every_module_opens_with_its_charter(path: Path) -> None:
    charter = ast.get_docstring(parse(path)) or ""

    assert len(charter) >= 30, f"{path}: say what belongs here, what does not, upstream, downstream"


@each_module
def test_files_are_short_enough_to_live_in_one_room(path: Path) -> None:
    lines = len((REPOSITORY / path).read_text().splitlines())

    assert lines <= MAX_FILE_LINES, f"{path} has {lines} lines: two things live in it"


@each_module
def test_functions_fit_on_a_screen(path: Path) -> None:
    functions = [node for node in ast.walk(parse(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {f.name: length for f in functions if (length := _body_lines(f)) > MAX_FUNCTION_LINES}

    assert long == {}, f"{path}: lines without the docstring"


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    inner = sum(
        (node.end_lineno or 0) - node.lineno
        for node in function.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    docstring = function.body[0] if ast.get_docstring(function) else None
    text = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - inner - text


@each_module
def test_nothing_is_left_for_later(path: Path) -> None:
    if path.name == Path(__file__).name:
        return
    found = NOTES_TO_SELF.findall((REPOSITORY / path).read_text())

    assert found == []


def test_only_its_own_package_knows_of_flights() -> None:
    knowing = {
        f"{path}:{number}"
        for path in python_files()
        if not str(path).startswith(KNOWS_FLIGHTS)
        for number, line in enumerate((REPOSITORY / path).read_text().splitlines(), 1)
        if FLIGHTS.search(_without_examples(line))
    }

    assert knowing == set()


def _without_examples(line: str) -> str:
    """The line without doctest examples and the command line's default use case."""
    return "" if line.lstrip().startswith((">>>", "'/data/", "DEFAULT_USE_CASE")) else line


def test_the_feature_repository_file_of_flights_is_the_only_one_named_after_a_product() -> None:
    named = {path for path in python_files() if FLIGHTS.search(str(path))}

    assert {path for path in named if not str(path).startswith(KNOWS_FLIGHTS)} == set()


def test_modules_dagster_inspects_do_not_postpone_annotations() -> None:
    inspected = [
        path
        for path in python_files()
        if str(path).startswith(DAGSTER_ROOMS) or (path.parts[0] == "shadow_platform" and path.name in DAGSTER_MODULES)
    ]

    assert inspected
    assert [path for path in inspected if "from __future__ import annotations" in (REPOSITORY / path).read_text()] == []


def test_loading_the_definitions_imports_no_heavy_tool() -> None:
    script = (
        f"import sys, shadow_platform.definitions; print(sorted(name for name in {HEAVY!r} if name in sys.modules))"
    )

    loaded = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"


def test_the_command_line_answers_help_without_any_tool() -> None:
    script = (
        f"import sys, shadow_platform.cli; print([n for n in {(*HEAVY, 'dagster', 'pandas')!r} if n in sys.modules])"
    )

    loaded = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"


def _make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


def _commands() -> set[str]:
    group: Any = typer.main.get_command(typer_app)
    nested = {
        f"{name} {child}" for name, command in group.commands.items() for child in getattr(command, "commands", {})
    }
    return {*group.commands, *nested}


def _documents() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".md"]


@pytest.mark.parametrize("path", _documents(), ids=str)
def test_documents_name_only_commands_that_exist(path: Path) -> None:
    text = (REPOSITORY / path).read_text()
    blocks = "\n".join(re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, re.DOTALL)) + "\n".join(
        re.findall(r"`([^`\n]+)`", text)
    )
    targets = set(re.findall(r"^(?:\$ )?make ([a-z]+)", blocks, re.MULTILINE))
    commands = set(re.findall(r"(?:^|/)shadow ((?:(?:models|canary) )?[a-z][a-z-]*)", blocks, re.MULTILINE))

    assert targets <= _make_targets()
    assert commands <= _commands()


@pytest.mark.parametrize("path", _documents(), ids=str)
def test_links_inside_the_repository_lead_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", (REPOSITORY / path).read_text(), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s#]+)[^)]*\)", text) if "://" not in link]

    assert [link for link in links if not (REPOSITORY / path.parent / link).exists()] == []


def test_architecture_decisions_are_numbered_without_repetition() -> None:
    numbers = [path.name[:4] for path in (REPOSITORY / "docs" / "adr").glob("[0-9]*.md")]

    assert len(numbers) == len(set(numbers))


def test_a_script_that_runs_is_executable() -> None:
    scripts = [path for path in tracked_files() if (REPOSITORY / path).read_bytes()[:2] == b"#!"]

    assert [path for path in scripts if not os.access(REPOSITORY / path, os.X_OK)] == []
