"""Files that ``shadow drift`` writes: never in the place of an input or of each other, and wholly or not at all.

Belongs here: refusing and writing. Does not belong here: what is in them (``printing``, adapters.reports). Upstream:
options. Downstream: the command.
"""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from shadow_platform.contracts.errors import ShadowPlatformError


def require_apart(read: Mapping[str, Path | None], output: Path | None, html: Path | None) -> None:
    """Raise ``ShadowPlatformError`` when a file to write is one to read, or is written twice.

    Args:
        read: option -> the file it names.
    """
    beside = None if html is None else html.with_suffix(".json")
    written = {"--output": output, "--html": html, "the JSON beside --html": beside}
    given = {option: path for option, path in {**written, **read}.items() if path is not None}
    for (option, path), (other, taken) in combinations(given.items(), 2):
        if option in written and _is_same(path, taken):
            raise ShadowPlatformError(f"{option} {path} is the file of {other} too; give it another name")
    if html is not None and html.exists() and not html.is_file():
        raise ShadowPlatformError(f"--html {html} is no regular file; give the name of one")


def write_whole(path: Path, text: str) -> None:
    """Write a file that is never seen half written; a device or a pipe is written to and stays.

    Raises:
        OSError: the disk refuses; what was there stands.
    """
    from shadow_platform.adapters.lake.parquet import replaced_by

    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    with replaced_by(path.resolve()) as beside:
        beside.write_text(text, encoding="utf-8")


def _is_same(first: Path, second: Path) -> bool:
    if first.exists() and second.exists():
        return first.samefile(second)
    return first.resolve() == second.resolve()
