"""How far a challenger's lane came, as a small file: a shortcut, so that a restart reads only the tail of a long log.

The shadow log alone decides what was compared. The file says which prediction offsets were done when the shadow log had
which sizes; what was appended behind those is read again. A file that is missing, unreadable, of another deployment or
newer than the log is not believed, and the whole log is read. Upstream: the lane. Downstream: the lane at its start,
``GET /shadow/comparison``, ``shadow challengers``.
"""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from bento.shadowing.offsets import advance, shadow_records, shadow_root
from shadow_platform.adapters.deployment.manifest import write_atomic
from shadow_platform.adapters.log import FileLogSource
from shadow_platform.contracts.deployment import DeployedModel
from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.verdicts import Frozen
from shadow_platform.domain.shadow import CircuitState

LOGGER = logging.getLogger("shadow_platform.shadow")

CLOCK_TOLERANCE = timedelta(days=1)
"""A clock may step back by less than this between a deployment and the comparisons that follow it."""


class Progress(Frozen):
    """State of one lane.

    Attributes:
        until: when the challenger left the manifest; ``None`` while it is in the shadow.
        after: prediction segment -> byte offset done.
        covered: shadow segment -> size up to which ``after`` includes its records.
        problem: why it does not go on; ``None`` while it does.
    """

    deployed: DeployedModel
    until: datetime | None = None
    after: dict[str, int]
    covered: dict[str, int]
    circuit: CircuitState = "closed"
    problem: str | None = None


def read_progress(path: Path) -> Progress | None:
    """What the file says; ``None`` when it is missing or unreadable."""
    try:
        return Progress.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write_progress(path: Path, progress: Progress) -> None:
    """Replace the file; a device that refuses costs a longer start, not the comparison."""
    try:
        write_atomic(path, progress)
    except OSError as error:
        LOGGER.warning("%s cannot be written (%s); the next start will read the whole shadow log", path, error)


def left_behind(layout: Layout, use_case: str) -> Iterator[Progress]:
    """Progress of every lane that did not end by itself."""
    folder = layout.shadow_progress(use_case, "any").parent
    for path in sorted(folder.glob("*.json")):
        progress = read_progress(path)
        if progress is not None:
            yield progress


def live_log(layout: Layout, use_case: str, deployed: DeployedModel) -> FileLogSource:
    """The challenger's shadow log, from the segments on that can hold records of this deployment."""
    return FileLogSource(shadow_root(layout, use_case, deployed.version), since=deployed.since - CLOCK_TOLERANCE)


def recover(source: FileLogSource, progress: Progress | None, deployed: DeployedModel) -> dict[str, int]:
    """Prediction segment -> byte offset done, by the shadow log; raises ``LogError`` when a part of it is unreadable.

    Args:
        source: the challenger's ``live_log``.
        progress: what the file says, if anything.
    """
    after: dict[str, int] = {}
    position: dict[str, int] = {}
    if progress is not None and _is_of(progress, source, deployed):
        after, position = dict(progress.after), dict(progress.covered)
    for record in shadow_records(source, position):
        advance(after, record)
    if source.unreadable:
        raise LogError(
            f"shadow log of challenger {deployed.version}: {', '.join(source.unreadable)} cannot be read, and what it "
            "holds would be scored twice; make it readable"
        )
    return after


def _is_of(progress: Progress, source: FileLogSource, deployed: DeployedModel) -> bool:
    """Whether the file is of this deployment and not ahead of its log (a log that lost its end with the machine)."""
    sizes = dict(source.segments())
    is_behind = all(sizes.get(segment, -1) >= size for segment, size in progress.covered.items())
    return progress.deployed.since == deployed.since and is_behind
