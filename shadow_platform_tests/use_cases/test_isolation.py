"""The platform knows of no product: what a use case declares is spelled nowhere outside its own package."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shadow_platform.use_cases import load_use_case, use_case_names

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("shadow_platform", "bento", "feature_repo")


# The rooms of products, and the one place that may name a product: the default of SHADOW_USE_CASE.
PRODUCTS = (
    "shadow_platform/use_cases/",
    "shadow_platform/scaffold/",
    *(f"feature_repo/{name}.py" for name in use_case_names()),
)
DEFAULT = "shadow_platform/settings.py"


def _files() -> list[Path]:
    found = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.suffix in {".py", ".sql", ".yaml"}]
    return [path for path in found if not str(path.relative_to(ROOT)).startswith((*PRODUCTS, DEFAULT))]


def _vocabulary(name: str) -> set[str]:
    """Names that only this use case can have made up: those of more than one word."""
    use_case = load_use_case(name)
    declared = {use_case.subject, *(view.name for view in use_case.views), *use_case.feature_names}
    return {word for word in declared if "_" in word}


def _code_texts(tree: ast.AST) -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name


@pytest.mark.parametrize("name", use_case_names())
def test_what_a_use_case_declares_is_spelled_nowhere_else(name: str) -> None:
    words = re.compile(r"\b(" + "|".join(sorted(_vocabulary(name))) + r")\b")
    files = _files()
    assert len(files) > 10
    found = {str(path.relative_to(ROOT)): words.findall(path.read_text(encoding="utf-8")) for path in files}
    assert {path: hits for path, hits in found.items() if hits} == {}


@pytest.mark.parametrize("name", use_case_names())
def test_no_code_names_a_use_case(name: str) -> None:
    word = re.compile(rf"\b{name}\b")
    guilty = [
        str(path.relative_to(ROOT))
        for path in _files()
        if path.suffix == ".py"
        if any(word.search(text) for text in _code_texts(ast.parse(path.read_text(encoding="utf-8"))))
    ]
    assert guilty == []
