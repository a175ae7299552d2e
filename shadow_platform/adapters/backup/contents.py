"""What an archive holds: which files of a home, in which order, how each is copied, and the list of them all.

Belongs here: the order and its reasons, what is left out, the form of the list. Does not belong here: reading and
writing archives (``writing``, ``restoring``). Upstream: a home folder. Downstream: those two.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

FORMAT = 1
MEMBERS = "home/"
"""Files of the home lie below this in the archive; beside it is the list alone."""
LIST_NAME = "backup-{sha256}.json"
"""Name of the list, which is the last member: an archive without it is not whole."""

BEFORE_DEPLOYMENT = (
    # Cursors of sensors before the runs they asked for, runs before their events: a cursor that is too old asks again,
    # and its run key is known; one that is too new would have forgotten a run.
    "dagster/schedules",
    "dagster/history/runs.db",
    "dagster",
    # Tables and logs name versions of models, and the registry gives a number that it does not know once more: so they
    # come before it. A row that is written between the two is missing then, which is seen; two models under one number
    # would not be. Tables are made of logs, comparisons of predictions.
    "warehouse.duckdb",
    "reports",
    "tables",
    "serving",  # but for what is held below: keyed answers before their log lines, logs of services
    "log/shadow",
    "log",
    "log/predictions",
)
HELD_BELOW_SERVING = (".json", ".rollout", ".intent")
DEPLOYMENT = (
    *(f"serving/*{suffix}" for suffix in HELD_BELOW_SERVING),
    "log/transitions",
    "log/rollouts",
    "mlflow/mlflow.db",
)
"""Copied while nobody may change the deployment: manifest, intent, aliases and audit records agree. An emergency waits
two seconds for that, so nothing is here that may be large and need not agree."""
AFTER_DEPLOYMENT = (
    "bundles",
    "bentoml",
    "mlflow",  # artifacts of what is registered
    "",  # what nothing else names: training frames, imported labels
    "lake",
    "feast",  # behind the lake, whose records say what was brought online
    "raw",
    "stream",
)
ROOTS = (*BEFORE_DEPLOYMENT, *DEPLOYMENT, *AFTER_DEPLOYMENT)

Kind = Literal["file", "lines", "sqlite"]
SQLITE_HEADER = b"SQLite format 3\x00"
SERVING = Path("serving")
SIDECARS = ("-wal", "-shm", "-journal")
LEFT_OUT = {"locks", "lost+found"}
"""Folders of a home that mean something to running processes and to the device only."""
OF_SERVICES = ("bentoml/run", "bentoml/prometheus_multiproc_dir")
"""Folders of services that run, and of some that did."""
EVENTS_OF_NO_RUN = ".db"
"""Dagster's file of events by run, for those of no run."""
LEFT_OUT_BELOW_SERVING = (".workers", ".shadow", ".canary")
"""Signs of life, and shortcuts that may not be newer than the logs they were made of; all are made anew."""


class Entry(BaseModel):
    """One file of an archive.

    Attributes:
        path: relative to the home, with slashes.
        mtime_ns: the platform knows by it whether a raw file was replaced.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    kind: Kind
    n_bytes: int
    sha256: str
    mtime_ns: int
    mode: int


class Contents(BaseModel):
    """The list of an archive.

    Attributes:
        home: absolute path that was backed up; MLflow notes artifacts by it.
        began_at: everything acknowledged before this is in the archive.
    """

    model_config = ConfigDict(frozen=True)

    format: int
    platform_version: str
    home: str
    began_at: datetime
    ended_at: datetime
    entries: tuple[Entry, ...]

    @property
    def n_bytes(self) -> int:
        """Size of all files together."""
        return sum(entry.n_bytes for entry in self.entries)


def files_below(home: Path, root: str) -> Iterator[str]:
    """Relative paths of the files of one root, without those of the roots that are named besides it.

    Notes (JSON) come before what they are about: one that is older than its partition has it made again, one that is
    newer would hide that it must be.
    """
    if "*" in root:
        yield from sorted(path.relative_to(home).as_posix() for path in home.glob(root) if path.name[0] != ".")
        return
    top = home / root
    if top.is_symlink() or top.is_file():
        yield root
        return
    for folder, folders, names in os.walk(top):
        here = Path(folder).relative_to(home)
        folders[:] = sorted(name for name in folders if _belongs(here / name))
        # A folder that is a link is not walked: it is named like a file, for whoever copies to refuse.
        names += [name for name in folders if (home / here / name).is_symlink()]
        for name in sorted(names, key=lambda name: (not name.endswith(".json"), name)):
            if _belongs(here / name) and not _is_sidecar(home / here / name):
                yield (here / name).as_posix()


def _belongs(path: Path) -> bool:
    """Whether a file or folder is copied, and by the root that is being walked."""
    name, text = path.name, path.as_posix()
    # A name that begins with a dot is that of a file being written, except where artifacts of others lie.
    is_unfinished = name.startswith(".") and name != EVENTS_OF_NO_RUN and path.parts[0] != "mlflow"
    is_sign_of_life = path.parts[0] == "serving" and name.endswith(LEFT_OUT_BELOW_SERVING)
    is_held = path.parent == SERVING and path.suffix in HELD_BELOW_SERVING
    return not (is_unfinished or is_sign_of_life or is_held or text in LEFT_OUT or text in (*ROOTS, *OF_SERVICES))


def _is_sidecar(path: Path) -> bool:
    """Whether SQLite keeps this file for the one beside it."""
    return path.name.endswith(SIDECARS) and path.with_name(path.name.rpartition("-")[0]).exists()


def kind_of(relative: str, head: bytes) -> Kind:
    """How a file is copied, by its place and its first bytes."""
    if head.startswith(SQLITE_HEADER):
        return "sqlite"
    is_log = relative.startswith(("log/", "stream/")) and relative.endswith(".jsonl")
    return "lines" if is_log else "file"
