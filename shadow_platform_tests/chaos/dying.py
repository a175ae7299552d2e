"""A forked process that dies by SIGKILL at one of the numbered steps by which it changes what outlives it.

Belongs here: what counts as a step, dying at one, forking. Does not belong here: what the process does, what must hold
afterwards (``rollout_kills``). Upstream: nothing of the platform. Downstream: tests of kills, ``benchmarks.decisions``.

A step makes, writes, renames, removes or flushes a file or folder below one root, or is a statement or commit of the
registry's database. A process may die before it, behind it, and in the middle of a write.
"""

import builtins
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.engine.default import DefaultDialect

WRITING = frozenset("wax+")
KINDS = ("intent", "rollout", "jsonl", "json", "lock")
READS = ("SELECT", "PRAGMA", "BEGIN", "SAVEPOINT", "RELEASE")


def forked(task: Callable[[], object], errors: Path) -> int:
    """Exit code of a fork of this process that did ``task``: 0, negative signal, or 1 with its traceback in a file.

    Nothing that this process holds open may be in use there: database pools must be ``NullPool``, and it must not have
    started the threads of Arrow or DuckDB, which a fork would wait for in vain.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            task()
            code = 0
        except BaseException:  # noqa: BLE001 a fork must never go on as its parent
            errors.write_text(traceback.format_exc(), encoding="utf-8")
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Steps:
    """Numbers the steps of this process below a root, from 1, until it is killed at one or ends.

    Attributes:
        names: what was passed so far: when, what, and on which file, without what differs between two runs.
    """

    def __init__(self, root: Path, die_at: int | None) -> None:
        self._root = f"{root}{os.sep}"
        self._die_at = die_at
        self._wrote_rows = False
        self.names: list[str] = []

    def watch(self) -> "Steps":
        """Count from now on, for the rest of this process's life."""
        for name in ("replace", "rename", "unlink", "remove", "rmdir"):
            self._wrap(os, name, lambda path, *_, **__: self._below(path) if os.path.lexists(path) else None)
        self._wrap(os, "mkdir", lambda path, *_, **__: None if os.path.lexists(path) else self._below(path))
        for name in ("fsync", "fdatasync", "ftruncate", "sendfile"):
            self._wrap(os, name, lambda descriptor, *_, **__: self._of(descriptor))
        self._wrap(os, "open", lambda path, flags, *_, **__: self._below(path) if _makes(path, flags) else None)
        self._wrap_write()
        self._wrap_open()
        self._wrap_registry()
        return self

    def around(self, name: str, act: Callable[[], Any], half: Callable[[], object] | None = None) -> Any:
        """Do something that may be died before, behind, and with ``half`` in the middle of."""
        self._pass(f"before {name}")
        if half is not None:
            self._pass(f"amid {name}", half)
        answer = act()
        self._pass(f"behind {name}")
        return answer

    def _pass(self, name: str, half: Callable[[], object] | None = None) -> None:
        self.names.append(name)
        if len(self.names) == self._die_at:
            if half is not None:
                half()
            os.kill(os.getpid(), signal.SIGKILL)

    def _wrap(self, owner: Any, name: str, file_of: Callable[..., str | None]) -> None:
        original = getattr(owner, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            file = file_of(*arguments, **named)
            if file is None:
                return original(*arguments, **named)
            return self.around(f"{name} {file}", lambda: original(*arguments, **named))

        setattr(owner, name, counted)

    def _wrap_write(self) -> None:
        original = os.write

        def counted(descriptor: int, data: bytes) -> int:
            file = self._of(descriptor)
            if file is None:
                return original(descriptor, data)
            half = data[: len(data) // 2]
            n: int = self.around(
                f"write {file}", lambda: original(descriptor, data), lambda: original(descriptor, half)
            )
            return n

        os.write = counted  # type: ignore[assignment]

    def _wrap_open(self) -> None:
        original = io.open

        def counted(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            name = self._below(file) if WRITING & set(mode) else None
            if name is None:
                return original(file, mode, *arguments, **named)
            opened = self.around(f"open {name}", lambda: original(file, mode, *arguments, **named))
            return _Written(opened, name, self)

        io.open = builtins.open = counted

    def _wrap_registry(self) -> None:
        execute, commit = DefaultDialect.do_execute, DefaultDialect.do_commit

        def executed(dialect: Any, cursor: Any, statement: str, *arguments: Any) -> Any:
            if statement.lstrip().upper().startswith(READS):
                return execute(dialect, cursor, statement, *arguments)
            self._wrote_rows = True
            verb = statement.split(maxsplit=1)[0].lower()
            return self.around(f"{verb} registry", lambda: execute(dialect, cursor, statement, *arguments))

        def committed(dialect: Any, connection: Any) -> Any:
            if not self._wrote_rows:
                return commit(dialect, connection)
            self._wrote_rows = False
            return self.around("commit registry", lambda: commit(dialect, connection))

        DefaultDialect.do_execute = executed  # type: ignore[method-assign]
        DefaultDialect.do_commit = committed  # type: ignore[method-assign]

    def _below(self, path: Any) -> str | None:
        """Folder and kind of a file below the root; ``None`` for any other."""
        text = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
        if not isinstance(text, str) or not text.startswith(self._root):
            return None
        place = Path(text.removeprefix(self._root))
        return place.parts[0] + next((f" {kind}" for kind in KINDS if f".{kind}" in place.name), "")

    def _of(self, descriptor: int) -> str | None:
        try:
            return self._below(Path(f"/proc/self/fd/{descriptor}").readlink())
        except OSError:
            return None


def _makes(path: Any, flags: int) -> bool:
    return bool(flags & os.O_CREAT) and not os.path.lexists(path)


class _Written:
    """A file open for writing whose writes are steps; each reaches the kernel at once."""

    def __init__(self, file: Any, name: str, steps: Steps) -> None:
        self._file, self._name, self._steps = file, name, steps

    def write(self, data: Any) -> int:
        n: int = self._steps.around(
            f"write {self._name}", lambda: self._through(data), lambda: self._through(data[: len(data) // 2])
        )
        return n

    def _through(self, data: Any) -> int:
        n: int = self._file.write(data)
        self._file.flush()
        return n

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Written":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
