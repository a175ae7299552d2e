"""The source tree as tests see it: files, parsed modules, what each of them imports.

Belongs here: reading source. Does not belong here: rules. Downstream: test_conventions, test_rooms.
"""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("shadow_platform", "bento", "feature_repo", "benchmarks", "shadow_platform_tests")


@cache
def tracked_files() -> tuple[Path, ...]:
    """Files that belong to the repository, relative to its root: tracked, or new and not ignored; listed once.

    Outside a git checkout (an unpacked archive) every file that no tool generated.
    """
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    names = listing.stdout.splitlines() if listing.returncode == 0 else _walk()
    return tuple(path for path in map(Path, names) if (REPOSITORY / path).is_file())


def _walk() -> list[str]:
    generated = {".venv", "data", "site", "build", "dist", "__pycache__"}
    paths = (path.relative_to(REPOSITORY) for path in REPOSITORY.rglob("*"))
    return [str(path) for path in paths if not generated & set(path.parts)]


@cache
def python_files() -> tuple[Path, ...]:
    """Python modules of the repository, relative to its root."""
    return tuple(sorted(path for path in tracked_files() if path.suffix == ".py"))


@cache
def parse(path: Path) -> ast.Module:
    """Syntax tree of a module."""
    return ast.parse((REPOSITORY / path).read_text(), filename=str(path))


def imports(path: Path) -> Iterator[str]:
    """Dotted names a module imports anywhere, also inside functions; for ``from a import b`` both a and a.b."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
