"""A pickle that leaves a marker when it is loaded, and skops files that would, for tests that it never is.

Belongs here: harmless harm. Does not belong here: assertions.
"""

import io
import json
import os
import pickle
import zipfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import skops.io

_IDS = count(1)
"""One a node: skops takes nodes of one id for one object."""


@dataclass(frozen=True)
class Poison:
    """Creates the folder ``marker`` when it is unpickled."""

    marker: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (str(self.marker), 0o777, True)

    def pickled(self) -> bytes:
        """The pickle."""
        return pickle.dumps(self)

    def write(self, path: Path) -> None:
        """Put the pickle somewhere."""
        path.write_bytes(self.pickled())


def forged_skops(schema: dict[str, Any], files: dict[str, bytes] | None = None) -> bytes:
    """A skops archive with any schema."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", json.dumps({"protocol": skops.io._protocol.PROTOCOL, **schema}))
        for name, content in (files or {}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def node(loader: str, name: str, content: Any = None, **more: Any) -> dict[str, Any]:
    """One node of a schema."""
    module, _, kind = name.rpartition(".")
    found = {"__loader__": loader, "__module__": module, "__class__": kind, "__id__": next(_IDS), **more}
    return found if content is None else {**found, "content": content}


def text(value: Any) -> dict[str, Any]:
    """A plain JSON value."""
    return node("JsonNode", "builtins.str", json.dumps(value), is_json=True)
