"""Checks an archive and unpacks it into an empty home: all of it, or nothing.

Belongs here: what is refused, and what a process that dies leaves. Does not belong here: what an archive holds
(``contents``). Upstream: an archive. Downstream: a home that services and Dagster may be started on.

Everything is unpacked and compared with the list below ``.restoring`` of the home, on its device, and only then moved
up, what serves last. Until that folder is gone every process of the platform refuses the home. A restore that begins
there clears away what the one before it left.
"""

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout
from pydantic import ValidationError

from shadow_platform.adapters.backup.contents import FORMAT, LEFT_OUT, LIST_NAME, MEMBERS, Contents
from shadow_platform.contracts.errors import BackupError
from shadow_platform.contracts.layout import Layout

BLOCK_BYTES = 1 << 20
MOVING = "moving.json"
LAST = "serving"
"""Moved up last: with a manifest in place a service would start."""
Progressed = Callable[[int], object]


def check(archive: Path, progressed: Progressed = lambda _: None) -> Contents:
    """Read a whole archive and compare it with its list; raises ``BackupError`` unless it could be restored."""
    return _read(archive, None, progressed)


def restore(archive: Path, home: Path, progressed: Progressed = lambda _: None) -> Contents:
    """Unpack an archive into a home that is empty or missing; returns its list.

    Raises:
        BackupError: the home holds something, or the archive is damaged; the home is then as it was.
    """
    workplace = Layout(home).restoring
    _claim(home, workplace)
    try:
        with FileLock(workplace / "lock", timeout=0):
            _clear(home, workplace)
            try:
                (workplace / "home").mkdir()
                contents = _read(archive, workplace / "home", progressed)
                _date(workplace / "home", contents)
                os.sync()
                _move_up(home, workplace)
            except BaseException:
                _clear(home, workplace)
                shutil.rmtree(workplace, ignore_errors=True)
                raise
            done = home / f".restored-{os.getpid()}"
            workplace.rename(done)
    except Timeout as error:
        raise BackupError(f"{home} is being restored by another process; wait for it") from error
    except OSError as error:
        raise BackupError(
            f"{home} cannot be written ({error.strerror or error}); free space or make it yours"
        ) from error
    shutil.rmtree(done, ignore_errors=True)
    return contents


def _claim(home: Path, workplace: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        found = {path.name for path in home.iterdir()} - LEFT_OUT
        if workplace.name not in found and found:
            raise BackupError(
                f"{home} holds {len(found)} entries ({', '.join(sorted(found)[:3])}), expected an empty folder; "
                "end what runs on it, move it away, and restore again"
            )
        workplace.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise BackupError(
            f"{home} cannot be written ({error.strerror or error}); free space or make it yours"
        ) from error


def _clear(home: Path, workplace: Path) -> None:
    """Take away what an unfinished restore made, and nothing else."""
    with suppress(FileNotFoundError):
        for name in json.loads((workplace / MOVING).read_text(encoding="utf-8")):
            place = home / name
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        shutil.rmtree(workplace / "home")
    (workplace / MOVING).unlink(missing_ok=True)
    if others := {path.name for path in home.iterdir()} - LEFT_OUT - {workplace.name}:
        raise BackupError(
            f"{home} was written to since its restore began ({', '.join(sorted(others))}); empty it first"
        )


def _move_up(home: Path, workplace: Path) -> None:
    names = sorted((path.name for path in (workplace / "home").iterdir()), key=lambda name: (name == LAST, name))
    beside = workplace / f"{MOVING}.new"
    beside.write_text(json.dumps(names), encoding="utf-8")
    os.replace(beside, workplace / MOVING)
    for name in names:
        (workplace / "home" / name).rename(home / name)


def _read(archive: Path, target: Path | None, progressed: Progressed) -> Contents:
    """Read every member, write it below ``target`` if given, and compare all with the list at the end."""
    found: dict[str, tuple[int, str]] = {}
    contents: Contents | None = None
    try:
        with archive.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as members:
            for member in members:
                if contents is not None:
                    raise BackupError(
                        f"{archive}: {member.name} stands behind the list, which is the last; it was altered"
                    )
                if member.name.startswith(MEMBERS):
                    path = _relative(archive, member)
                    try:
                        found[path] = _unpack(members, member, target and target / path, progressed)
                    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
                        raise BackupError(
                            f"{archive}: {member.name!r} is a file and a folder; it was altered, take another archive"
                        ) from error
                else:
                    contents = _list(archive, members, member)
    except FileNotFoundError as error:
        raise BackupError(f"{archive} does not exist; name the file that `shadow backup` wrote") from error
    except (tarfile.TarError, EOFError) as error:
        raise BackupError(
            f"{archive} is damaged or no archive of `shadow backup` ({error}); take another one"
        ) from error
    if contents is None:
        raise BackupError(f"{archive} ends too early: its list is missing; take another archive")
    _compare(archive, contents, found)
    return contents


def _relative(archive: Path, member: tarfile.TarInfo) -> str:
    path = PurePosixPath(member.name.removeprefix(MEMBERS))
    if not member.isreg() or path.is_absolute() or ".." in path.parts or not path.parts:
        raise BackupError(f"{archive}: {member.name!r} is no file below a home; it was altered, take another archive")
    return path.as_posix()


def _unpack(
    members: tarfile.TarFile, member: tarfile.TarInfo, target: Path | None, progressed: Progressed
) -> tuple[int, str]:
    """Size and hash of a member, which is written to ``target`` if given."""
    source, digest, n_bytes = members.extractfile(member), hashlib.sha256(), 0
    assert source is not None, "only regular files come here"
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
    with open(target or os.devnull, "wb") as file:  # noqa: PTH123 - one of the two is no path of ours
        while block := source.read(BLOCK_BYTES):
            digest.update(block)
            n_bytes += file.write(block)
            progressed(len(block))
    return n_bytes, digest.hexdigest()


def _list(archive: Path, members: tarfile.TarFile, member: tarfile.TarInfo) -> Contents:
    source = members.extractfile(member)
    text = b"" if source is None else source.read()
    if member.name != LIST_NAME.format(sha256=hashlib.sha256(text).hexdigest()):
        raise BackupError(f"{archive} is damaged: its list is not the one that was written; take another archive")
    declared = json.loads(text).get("format")
    if declared != FORMAT:
        raise BackupError(
            f"{archive} has format {declared!r}, expected {FORMAT}; restore it with the platform that wrote it"
        )
    try:
        return Contents.model_validate_json(text)
    except ValidationError as error:
        raise BackupError(f"{archive}: its list cannot be read: {error.errors()[0]['msg']}; take another") from error


def _compare(archive: Path, contents: Contents, found: dict[str, tuple[int, str]]) -> None:
    listed = {entry.path: (entry.n_bytes, entry.sha256) for entry in contents.entries}
    wrong = sorted(path for path in listed.keys() | found.keys() if listed.get(path) != found.get(path))
    if wrong:
        raise BackupError(
            f"{archive} is damaged: {wrong[0]} and {len(wrong) - 1} more of {len(listed)} files differ from its list; "
            "take another archive"
        )


def _date(folder: Path, contents: Contents) -> None:
    """Give every file the time and the mode it had."""
    for entry in contents.entries:
        path = folder / entry.path
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
        path.chmod(entry.mode)
