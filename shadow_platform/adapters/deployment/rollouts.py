"""The rollout of a use case as a file, and every step of it in an append-only log.

Belongs here: keeping both, so that they agree whenever a process dies. Does not belong here: which step comes next
(domain.promotion), carrying it out. Upstream: promotion, the command line. Downstream: the sensor of rollouts,
``rollout_steps``, alerts.

The file is replaced first and the log follows: a step in the file that the log lacks is appended under the same id
before the next one, so that no step is lost and one that is there twice is one row to every reader. Two processes that
step at once meet in ``expected``: the second is told that the rollout went on without it.
"""

import json
from collections.abc import Mapping
from typing import Any

import uuid_utils
from pydantic import ValidationError

from shadow_platform.adapters.deployment.journal import locked
from shadow_platform.adapters.deployment.manifest import write_atomic
from shadow_platform.contracts.errors import RegistryError, TransitionConflict
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LogSink, LogSource
from shadow_platform.contracts.rollouts import Rollout

LOCK_TIMEOUT_S = 30.0


def read_rollout(layout: Layout, use_case: str) -> Rollout | None:
    """The rollout under way, or the last that ended; ``None`` before the first. Raises ``RegistryError``."""
    path = layout.rollout(use_case)
    try:
        return Rollout.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise RegistryError(
            f"rollout {path}: {first}; remove the file, and the gate begins the rollout anew"
        ) from error


def new_step_id() -> str:
    """Id of a step that is about to be recorded; ids are in the order of time."""
    return str(uuid_utils.uuid7())


def record_step(layout: Layout, log: LogSink, source: LogSource, rollout: Rollout, expected: str | None) -> None:
    """Put a step of a rollout into force, and append it to the log.

    Args:
        source: of the log's lines.
        expected: id of the step that is in force; ``None``: there is none.

    Raises:
        TransitionConflict: another step is in force; nothing is changed.
        AlreadyRunning: the deployment is being changed for long.
    """
    use_case = rollout.use_case
    with locked(layout, use_case, LOCK_TIMEOUT_S):
        current = read_rollout(layout, use_case)
        if (current.step_id if current else None) != expected:
            raise TransitionConflict(f"the rollout of {use_case} went on meanwhile: {_told(current)}")
        _settle(log, source, current)
        write_atomic(layout.rollout(use_case), rollout)
        _append(log, rollout)


def settle_log(layout: Layout, log: LogSink, source: LogSource, use_case: str) -> None:
    """Append the step that a dead process left out. Repeating it is harmless."""
    with locked(layout, use_case, LOCK_TIMEOUT_S):
        _settle(log, source, read_rollout(layout, use_case))


def note_detail(layout: Layout, rollout: Rollout, detail: str) -> None:
    """Say in the file why the rollout stands where it stands; no step, and nothing when it went on meanwhile."""
    path = layout.rollout(rollout.use_case)
    with locked(layout, rollout.use_case, LOCK_TIMEOUT_S):
        current = read_rollout(layout, rollout.use_case)
        if current is not None and current.step_id == rollout.step_id and current.detail != detail:
            write_atomic(path, current.model_copy(update={"detail": detail}))


def steps(source: LogSource) -> list[dict[str, Any]]:
    """Every step of every rollout so far, oldest first; one that a repair appended again is one."""
    found = {row["step_id"]: row for row in (json.loads(line.payload) for line in source.read({}))}
    return [found[step_id] for step_id in sorted(found)]


def _settle(log: LogSink, source: LogSource, current: Rollout | None) -> None:
    if current is not None and current.step_id not in {row["step_id"] for row in steps(source)}:
        _append(log, current)


def _append(log: LogSink, rollout: Rollout) -> None:
    log.append_many([_row(rollout)])
    log.sync()


def _row(rollout: Rollout) -> Mapping[str, Any]:
    """A row of ``rollout_steps``."""
    return {
        "step_id": rollout.step_id,
        "rollout_id": rollout.rollout_id,
        "use_case": rollout.use_case,
        "version": rollout.version,
        "expected_champion": rollout.expected_champion,
        "decision_id": rollout.decision_id,
        "state": rollout.state.value,
        "canary_share": rollout.canary_share,
        "bento": rollout.bento,
        "is_failure": rollout.n_failures > 0,
        "actor": rollout.actor,
        "detail": rollout.detail,
        "stepped_at": rollout.stepped_at.isoformat(),
    }


def _told(current: Rollout | None) -> str:
    if current is None:
        return "there is none any more"
    return f"rollout {current.rollout_id} of version {current.version} is {current.state}"
