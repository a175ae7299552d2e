"""Copies of the published tables in an object store, for engines and people that cannot read the home folder.

Belongs here: which partitions are not there yet, putting them there, the views over them. Does not belong here: which
run may do it, and when. Upstream: the tables' Parquet files; pyarrow, which reads from ``AWS_*`` where an S3 store is
and who asks. Downstream: the asset ``warehouse``; any DuckDB, Spark, Trino or Ray.

An object is put in one piece, so that a reader sees the old partition or the new one. ``copies.json`` beside the tables
tells what each copy was made of. It is put last: after a crash in between, what it does not tell of is put again, and
putting the same object twice changes nothing. Nothing here ever deletes a copy: an empty or wrong home folder would
otherwise empty the object store too.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import FileLock
from pyarrow import fs
from pydantic import BaseModel, ValidationError

from shadow_platform.adapters.lake.parquet import files_relation, identifier, literal
from shadow_platform.adapters.lake.warehouse import PARTITIONS, partitions
from shadow_platform.contracts.errors import LakeError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import TableSchema

NOTE, VIEWS = "copies.json", "views.sql"
AT_ONCE = 8
"""Requests to an object store spend their time waiting."""
PAUSES_S = (0.5, 2.0)
"""Between the tries of one request, beside those of the client itself."""
LOCK_TIMEOUT_S = 600.0
REMEDY = (
    "the tables in the home folder are not affected; check TABLES_URL, AWS_ENDPOINT_URL and the key, then materialize "
    "the warehouse again: it copies what is missing"
)
Result = TypeVar("Result")


class Copy(BaseModel, frozen=True):
    """What one copy was made of: the file's size and time of modification here, and what it holds."""

    n_bytes: int
    mtime_ns: int
    sha256: str


class Note(BaseModel, frozen=True):
    """Every copy, by its path below the URL."""

    copies: dict[str, Copy] = {}


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What one publication did.

    Attributes:
        n_copied, n_bytes: partitions that were put now, and their size.
        n_held: partitions that are there now.
    """

    url: str
    n_copied: int
    n_bytes: int
    n_held: int


def copy_tables(layout: Layout, url: str, schemas: Sequence[TableSchema]) -> CopyReport:
    """Put every partition there that is not there as it is here, and the views; one publication at a time.

    Raises:
        LakeError: the store refuses or does not answer. What was put until then stays and is not put again.
    """
    lock = layout.locks("table-copies")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=LOCK_TIMEOUT_S):
        store = _Store.at(url)
        held, noted = store.held(), store.note()
        files = {str(path.relative_to(layout.tables)): path for path in partitions(layout, schemas)}
        due = {name: path for name, path in files.items() if not _is_there(path, noted.get(name), held.get(name))}
        put, failures = _put_all(store, due)
        if put:
            store.put(NOTE, Note(copies={**noted, **put}).model_dump_json().encode())
        if failures:
            first = min(failures)
            raise LakeError(
                f"{len(failures)} of {len(due)} partitions could not be copied to {url}; the first is {first}: "
                f"{failures[first]}; {REMEDY}"
            )
        store.put(VIEWS, views(layout, url, schemas).encode())
    return CopyReport(url, len(put), sum(copy.n_bytes for copy in put.values()), len(files))


def views(layout: Layout, url: str, schemas: Sequence[TableSchema]) -> str:
    """SQL for DuckDB: the views and comments of the warehouse, over the copies."""
    lines = [f"-- The published tables, where they lie: run in DuckDB with access to {url}."]
    for schema in schemas:
        has_rows = next((layout.tables / schema.name).glob(PARTITIONS), None) is not None
        files = [f"{url.rstrip('/')}/{schema.name}/{PARTITIONS}"] if has_rows else []
        relation = files_relation(files, {column.name: column.type for column in schema.columns})
        lines.append(f"CREATE OR REPLACE VIEW {identifier(schema.name)} AS {relation};")
        lines.append(f"COMMENT ON VIEW {identifier(schema.name)} IS {literal(schema.grain)};")
    return "\n".join(lines) + "\n"


class _Store:
    """The object store below one URL."""

    def __init__(self, url: str, files: fs.FileSystem, root: str) -> None:
        self._url, self._files, self._root = url, files, root

    @classmethod
    def at(cls, url: str) -> "_Store":
        files, root = _tried(lambda: fs.FileSystem.from_uri(url.rstrip("/")), f"{url} cannot be opened")
        return cls(url, files, root)

    def held(self) -> Mapping[str, int]:
        """Bytes of every object by its path below the URL."""
        selector = fs.FileSelector(self._root, recursive=True, allow_not_found=True)
        listed = _tried(lambda: self._files.get_file_info(selector), f"{self._url} cannot be listed")
        return {info.path.removeprefix(f"{self._root}/"): info.size for info in listed}

    def note(self) -> dict[str, Copy]:
        """What the note tells; nothing when there is none or it cannot be read: everything is put again then."""
        path = f"{self._root}/{NOTE}"

        def read() -> bytes:
            with self._files.open_input_file(path) as file:
                return bytes(file.read())

        try:
            return Note.model_validate_json(_tried(read, f"{self._url}/{NOTE} cannot be read")).copies
        except (FileNotFoundError, ValidationError):
            return {}

    def put(self, name: str, content: bytes) -> None:
        """One object, whole."""

        def write() -> None:
            with self._files.open_output_stream(f"{self._root}/{name}") as stream:
                stream.write(content)

        _tried(write, f"{self._url}/{name} cannot be written")


def _put_all(store: _Store, due: Mapping[str, Path]) -> tuple[dict[str, Copy], dict[str, LakeError]]:
    put: dict[str, Copy] = {}
    failures: dict[str, LakeError] = {}

    def put_one(name: str) -> None:
        # Looked at before it is read: a partition that is replaced in between is put once more by the next publication.
        status = due[name].stat()
        content = due[name].read_bytes()
        try:
            store.put(name, content)
        except LakeError as error:
            failures[name] = error
            return
        digest = hashlib.sha256(content).hexdigest()
        put[name] = Copy(n_bytes=len(content), mtime_ns=status.st_mtime_ns, sha256=digest)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(put_one, due))
    return put, failures


def _is_there(path: Path, copy: Copy | None, n_bytes_held: int | None) -> bool:
    status = path.stat()
    return (
        copy is not None and (copy.n_bytes, copy.mtime_ns) == (status.st_size, status.st_mtime_ns)
    ) and copy.n_bytes == n_bytes_held


def _tried(do: Callable[[], Result], what: str) -> Result:
    """What the store answers, asked up to three times; a file that does not exist is an answer."""
    for pause_s in (*PAUSES_S, None):
        try:
            return do()
        except FileNotFoundError:
            raise
        except OSError as error:
            if pause_s is None:
                raise LakeError(f"{what}: {str(error).splitlines()[0]}; {REMEDY}") from error
            time.sleep(pause_s)
    raise AssertionError("the last try returns or raises")
