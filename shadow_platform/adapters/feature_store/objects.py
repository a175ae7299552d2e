"""Feature rows as Parquet partitions, on this machine or in an object store that many machines share.

Belongs here: finding, reading and copying files ``dt=<day>/data.parquet``, wherever they lie. Does not belong here:
what the rows mean, joining them. Upstream: pyarrow, which reads from ``AWS_*`` where an S3 store is and who asks.
Downstream: ``store``, ``ray_work``.

An object is written and fetched in one piece, so that a reader sees the old partition or the new one. Beside a copy
lies an object ``<SHA-256 of its content>.sha256``, so that one listing tells which copies are those of this machine.
DuckDB's own access to S3 is an extension that must be downloaded; pyarrow's is built in.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from shadow_platform.adapters.feature_store.online import explained
from shadow_platform.contracts.errors import FeatureStoreError
from shadow_platform.contracts.layout import Layout

PARTITION = "dt=*/data.parquet"
TRANSFERS_AT_ONCE = 8
"""Requests to an object store spend their time waiting."""
TRIES_TO_FETCH = 5
"""Of an object that is replaced by one of another size meanwhile."""
_DAY = re.compile(r"/dt=(\d{4}-\d\d-\d\d)/data\.parquet$")
_DIGEST = re.compile(r"/dt=(\d{4}-\d\d-\d\d)/([0-9a-f]{64})\.sha256$")
_REMEDY = "check FEATURES_URL, AWS_ENDPOINT_URL and the key in the environment"
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class Partitions:
    """Daily partitions of one feature view.

    Attributes:
        source: folder or URL, followed by ``dt=*/data.parquet``: the path of the view's source in Feast.
    """

    source: str

    @property
    def folder(self) -> str:
        """Folder or URL that holds the partitions."""
        return self.source.removesuffix(f"/{PARTITION}")

    @cached_property
    def files(self) -> Mapping[date, str]:
        """Path of every partition by day, oldest first, as first found; empty when there is none.

        Raises:
            FeatureStoreError: the object store does not answer.
        """
        return {day: info.path for day, info in self.found().items()}

    @property
    def digests(self) -> Mapping[date, tuple[int, str]]:
        """Bytes and noted SHA-256 of every copy by day, as found now; one that is not wholly published is left out."""
        listed = self._listed()
        notes = [(_day(match), match[2]) for info in listed if (match := _DIGEST.search(info.path))]
        times_noted = Counter(day for day, _ in notes)
        held = _by_day(listed)
        return {day: (held[day].size, sha256) for day, sha256 in notes if day in held and times_noted[day] == 1}

    def found(self) -> Mapping[date, fs.FileInfo]:
        """What the file system says of every partition by day, as found now."""
        return _by_day(self._listed())

    def _listed(self) -> list[fs.FileInfo]:
        store, root = _file_system(self.folder)
        with explained(f"features in {self.folder} cannot be listed", _REMEDY):
            found: list[fs.FileInfo] = store.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
        return found

    def between(self, start: date | None, end: date) -> list[str]:
        """Paths of the partitions from one day to another, both included."""
        return [path for day, path in self.files.items() if (start is None or start <= day) and day <= end]

    @property
    def newest(self) -> list[str]:
        """Path of the newest partition, if there is one: what columns there are, where no row is wanted."""
        return list(self.files.values())[-1:]

    def read(self, paths: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """Rows of some partitions in their order; a column that some partitions lack is null in their rows.

        Raises:
            FeatureStoreError: a partition is gone or cannot be read, or neither these nor the newest has a column.
        """
        if not paths:
            raise FeatureStoreError(f"there are no rows below {self.folder}; materialize its partitions first")
        with explained(f"features in {self.folder} changed a column's type", "make the partition again"):
            rows = pa.concat_tables(
                _in_parallel(lambda path: self._read_one(path, columns), paths), promote_options="permissive"
            )
        missing = [name for name in columns if name not in rows.column_names]
        if missing:
            empty = pa.concat_tables(self._read_one(path, missing) for path in self.newest).slice(0, 0)
            if lost := sorted({*missing} - {*empty.column_names}):
                raise FeatureStoreError(f"features in {self.folder} have no column {lost}; make the partitions again")
            rows = pa.concat_tables([rows, empty], promote_options="default")
        return rows.select(columns)

    def _read_one(self, path: str, columns: Sequence[str]) -> pa.Table:
        store, _ = _file_system(self.folder)
        with explained(f"features {path} cannot be read", f"publish the partition again, or {_REMEDY}"):
            file = pq.ParquetFile(pa.BufferReader(_fetched(store, path)))
            return file.read([name for name in columns if name in file.schema_arrow.names])


def _fetched(store: fs.FileSystem, path: str) -> pa.Buffer:
    """A partition's bytes, all of one publication: who fetches footer and columns apart may get those of two.

    pyarrow asks for the size first. Of an object that grew since it fetches a part; one that shrank it fills up with
    whatever was in memory.
    """
    for _ in range(TRIES_TO_FETCH):
        with store.open_input_file(path) as file:
            content = file.read_buffer()
        if store.get_file_info(path).size == content.size:
            return content
    raise FeatureStoreError(f"{path} was replaced {TRIES_TO_FETCH} times while it was read; retry")


def _by_day(listed: Sequence[fs.FileInfo]) -> Mapping[date, fs.FileInfo]:
    days = {_day(match): info for info in listed if (match := _DAY.search(info.path))}
    return dict(sorted(days.items()))


def _day(match: re.Match[str]) -> date:
    try:
        return date.fromisoformat(match[1])
    except ValueError as error:
        raise FeatureStoreError(f"{match.string} is of no day: {error}; rename or remove its folder") from error


def published(features_url: str, use_case: str, view: str) -> Partitions:
    """Partitions of a view in the object store."""
    return Partitions(f"{features_url.rstrip('/')}/{use_case}/{view}/{PARTITION}")


def publish(layout: Layout, features_url: str, use_case: str, view: str, days: Sequence[date]) -> int:
    """Copy a view's partitions to the object store, and remove those that are gone here; returns how many were copied.

    Raises:
        FeatureStoreError: the store refuses, or holds something else afterwards.
    """
    folder = published(features_url, use_case, view).folder
    store, root = _file_system(folder)

    def publish_one(day: date) -> int:
        path, copy = layout.features(use_case, view, day), f"{root}/dt={day}/data.parquet"
        with explained(f"partition {day} of view {view!r} could not be published to {folder}", _REMEDY):
            return _copy(path, store, copy) if path.exists() else _remove(store, copy)

    return sum(_in_parallel(publish_one, sorted(set(days))))


def unpublished(layout: Layout, features_url: str, use_case: str, view: str) -> list[date]:
    """Days whose partition here is not the one in the object store, by its SHA-256; raises ``FeatureStoreError``."""
    here = Partitions(f"{layout.features(use_case, view)}/{PARTITION}").found()
    there = published(features_url, use_case, view).digests

    def is_there(day: date) -> bool:
        size, sha256 = there.get(day, (-1, ""))
        return size == here[day].size and sha256 == _sha256(here[day].path, size, here[day].mtime_ns)

    with explained(f"partitions of view {view!r} cannot be compared", "retry"):
        return [day for day, same in zip(here, _in_parallel(is_there, list(here)), strict=True) if not same]


@lru_cache(maxsize=10_000)
def _sha256(path: str, _size: int, _mtime_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(path: Path, store: fs.FileSystem, copy: str) -> int:
    """Copy a partition and note its digest; while there is no note, as after a crash, the copy counts for none."""
    content = path.read_bytes()
    _forget(store, copy)
    if isinstance(store, fs.LocalFileSystem):
        # A shared file system shows a file while it grows, an object store an object when it is whole.
        store.create_dir(copy.rpartition("/")[0])
        with store.open_output_stream(f"{copy}.part") as stream:
            stream.write(content)
        store.move(f"{copy}.part", copy)
    else:
        with store.open_output_stream(copy) as stream:
            stream.write(content)
    held = store.get_file_info(copy).size
    if held != len(content):
        raise FeatureStoreError(f"{copy} holds {held} bytes, expected {len(content)} as in {path}; publish it again")
    sha256 = hashlib.sha256(content).hexdigest()
    with store.open_output_stream(f"{copy.rpartition('/')[0]}/{sha256}.sha256") as stream:
        stream.write(sha256.encode())
    return 1


def _forget(store: fs.FileSystem, copy: str) -> None:
    """Remove the notes of a copy's digest, before the copy."""
    for info in store.get_file_info(fs.FileSelector(copy.rpartition("/")[0], allow_not_found=True)):
        if _DIGEST.search(info.path):
            store.delete_file(info.path)


def _remove(store: fs.FileSystem, copy: str) -> int:
    _forget(store, copy)
    if store.get_file_info(copy).type == fs.FileType.File:
        store.delete_file(copy)
    return 0


@lru_cache(maxsize=16)
def _file_system(folder: str) -> tuple[fs.FileSystem, str]:
    with explained(f"{folder} cannot be opened", _REMEDY):
        store, root = fs.FileSystem.from_uri(folder)
    return store, root


def _in_parallel(do: Callable[[_In], _Out], items: Sequence[_In]) -> Iterator[_Out]:
    with ThreadPoolExecutor(TRANSFERS_AT_ONCE) as threads:
        yield from threads.map(do, items)
