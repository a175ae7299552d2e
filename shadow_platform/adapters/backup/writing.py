"""Writes an archive of a home that is in use: each file whole, the archive complete or not there.

Belongs here: copying files that others append to, replace or write transactions to. Does not belong here: which files
(``contents``). Upstream: a home folder. Downstream: an archive for ``restoring``.

A SQLite file is copied by SQLite's online backup, which gives the state of one moment between transactions. A file
that others replace is copied from the one that was opened. Of a log that others append to, the complete lines are
copied that were there when it was opened.
"""

import hashlib
import io
import os
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from shadow_platform.adapters.backup.contents import (
    AFTER_DEPLOYMENT,
    BEFORE_DEPLOYMENT,
    DEPLOYMENT,
    FORMAT,
    LIST_NAME,
    MEMBERS,
    ROOTS,
    SQLITE_HEADER,
    Contents,
    Entry,
    Kind,
    files_below,
    kind_of,
)
from shadow_platform.contracts.errors import BackupError

LOCK_TIMEOUT_S = 10.0
"""Longest wait for a transaction of another process."""
TAIL_BYTES = 1 << 16
Progressed = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Written:
    """An archive that is complete."""

    path: Path
    contents: Contents


def expected_bytes(home: Path) -> int:
    """Size of what would be copied now, to measure progress by."""
    return sum(_size(home / name) for root in ROOTS for name in files_below(home, root))


def write(
    home: Path,
    path: Path,
    platform_version: str,
    hold: Callable[[], AbstractContextManager[object]],
    progressed: Progressed = lambda _: None,
) -> Written:
    """Write the archive of a home; returns it once it is complete and on the device.

    Args:
        hold: context in which nobody changes a deployment.
        progressed: told the bytes that were copied since the last call.

    Raises:
        BackupError: the home is missing, the archive exists or would hold itself, a file cannot be read, or the
            archive cannot be written. Nothing is left under the archive's name.
    """
    _require_a_place(home, path)
    # One a home, whatever the archive's name: what a process that was killed left is cleared by the next backup.
    of_home = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:8]
    beside = path.with_name(f".shadow-backup-{of_home}.partial")
    lock = beside.with_suffix(".lock")
    try:
        with FileLock(lock, timeout=0):
            try:
                with _workplace(beside):
                    contents = _Writer(home, beside, progressed).write(platform_version, hold)
                    _require_a_place(home, path)
                    (beside / "archive").rename(path)
                    _flush_folder(path.parent)
            finally:
                lock.unlink(missing_ok=True)
    except Timeout as error:
        raise BackupError(
            f"another process writes an archive of {home} to {path.parent}; wait for it, or name another folder"
        ) from error
    except OSError as error:
        raise BackupError(
            f"{path} cannot be written ({error.strerror or error}); free space there, or name another place"
        ) from error
    return Written(path, contents)


@contextmanager
def _workplace(folder: Path) -> Iterator[None]:
    """An empty folder for its owner alone, whatever a process that died left there; removed at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_a_place(home: Path, path: Path) -> None:
    if not home.is_dir():
        raise BackupError(f"{home} does not exist, so there is nothing to back up; set SHADOW_HOME")
    if path.exists():
        raise BackupError(f"{path} exists; name a file that does not, an archive is never overwritten")
    if not path.parent.is_dir():
        raise BackupError(f"folder {path.parent} does not exist; create it, or name another file")
    if path.resolve().is_relative_to(home.resolve()):
        raise BackupError(f"{path} lies below {home} and would hold itself; name a file outside SHADOW_HOME")


@dataclass(slots=True)
class _Writer:
    """One archive being written.

    Attributes:
        beside: folder of its own on the archive's device: the archive, and the copy of one SQLite file at a time.
    """

    home: Path
    beside: Path
    progressed: Progressed
    entries: list[Entry] = field(default_factory=list)

    def write(self, platform_version: str, hold: Callable[[], AbstractContextManager[object]]) -> Contents:
        began_at = datetime.now(UTC)
        with open(self.beside / "archive", "xb", opener=_private) as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                self._add_all(archive, BEFORE_DEPLOYMENT)
                with hold():
                    self._add_all(archive, DEPLOYMENT)
                self._add_all(archive, AFTER_DEPLOYMENT)
                contents = Contents(
                    format=FORMAT,
                    platform_version=platform_version,
                    home=str(self.home),
                    began_at=began_at,
                    ended_at=datetime.now(UTC),
                    entries=tuple(self.entries),
                )
                _add_list(archive, contents)
            file.flush()
            os.fsync(file.fileno())
        return contents

    def _add_all(self, archive: tarfile.TarFile, roots: tuple[str, ...]) -> None:
        for root in roots:
            for name in files_below(self.home, root):
                self._add(archive, name)

    def _add(self, archive: tarfile.TarFile, name: str) -> None:
        path = self.home / name
        if path.is_symlink():
            raise BackupError(f"{path} is a symbolic link, and what it points to would be missing; put the file there")
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return  # removed since the folder was listed
        except OSError as error:
            raise BackupError(f"{path} cannot be read ({error.strerror}); make it readable") from error
        with file:
            kind = kind_of(name, file.read(len(SQLITE_HEADER)))
            status = os.fstat(file.fileno())
            if kind == "sqlite":
                copy = self.beside / "copy.db"
                _copy_database(path, copy)
                with copy.open("rb") as copied:
                    self._add_bytes(archive, name, kind, copied, copy.stat().st_size, status)
                copy.unlink()
            else:
                size = _complete_lines(file, status.st_size) if kind == "lines" else status.st_size
                file.seek(0)
                self._add_bytes(archive, name, kind, file, size, status)

    def _add_bytes(
        self, archive: tarfile.TarFile, name: str, kind: Kind, file: BinaryIO, size: int, status: os.stat_result
    ) -> None:
        member = tarfile.TarInfo(MEMBERS + name)
        member.size, member.mode, member.mtime = size, status.st_mode & 0o777, int(status.st_mtime)
        hashed = _Hashed(file, size, self.progressed)
        try:
            archive.addfile(member, hashed)
        except OSError as error:
            if str(error) != "unexpected end of data":
                raise
            raise BackupError(f"{self.home / name} became shorter while it was read; run the backup again") from error
        self.entries.append(
            Entry(
                path=name,
                kind=kind,
                n_bytes=size,
                sha256=hashed.sha256,
                mtime_ns=status.st_mtime_ns,
                mode=status.st_mode & 0o777,
            )
        )


class _Hashed(io.RawIOBase):
    """The first bytes of a file, hashed as they are read."""

    def __init__(self, file: BinaryIO, size: int, progressed: Progressed) -> None:
        self._file, self._left, self._progressed = file, size, progressed
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hash of what was read so far."""
        return self._hash.hexdigest()

    def read(self, size: int = -1) -> bytes:
        """Next bytes, none behind the end."""
        block = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(block)
        self._hash.update(block)
        self._progressed(len(block))
        return block


def _private(path: str, flags: int) -> int:
    """An archive holds requests and answers: it is for the user who made it."""
    return os.open(path, flags, 0o600)


def _add_list(archive: tarfile.TarFile, contents: Contents) -> None:
    text = contents.model_dump_json(indent=1).encode()
    member = tarfile.TarInfo(LIST_NAME.format(sha256=hashlib.sha256(text).hexdigest()))
    member.size, member.mode, member.mtime = len(text), 0o600, int(contents.ended_at.timestamp())
    archive.addfile(member, io.BytesIO(text))


def _copy_database(path: Path, copy: Path) -> None:
    """Copy a SQLite file as of one moment, while others write to it."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S

    def give_up_in_time(status: int, *_: int) -> None:
        # Without it the copy would begin again and again as long as somebody holds the file.
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > deadline:
            raise sqlite3.OperationalError(f"another process has held it for {LOCK_TIMEOUT_S:g} s")

    try:
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target, progress=give_up_in_time)
    except sqlite3.Error as error:
        raise BackupError(
            f"{path} cannot be copied as a SQLite file ({error}); if a process holds it, end that and try again"
        ) from error


def _complete_lines(file: BinaryIO, size: int) -> int:
    """Bytes up to the last line end; what follows is being written, or torn."""
    end = size
    while end:
        start = max(0, end - TAIL_BYTES)
        file.seek(start)
        place = file.read(end - start).rfind(b"\n")
        if place >= 0:
            return start + place + 1
        end = start
    return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
