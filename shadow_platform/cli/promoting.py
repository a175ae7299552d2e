"""``shadow promote`` and ``shadow rollout``: who becomes champion, by hand or by the gate with a person's approval.

Belongs here: what a person says to a rollout, and how one is shown. Does not belong here: the steps of a rollout
(assets.promotion), rolling back (``cli.models.changing``). Upstream: rollouts, deployment. Downstream: people on call.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shadow_platform.cli.options import ByOption, SoleUseCaseOption, UseCaseOption, WaitOption, said
from shadow_platform.cli.persons import named_person
from shadow_platform.contracts.errors import ShadowPlatformError, TransitionConflict
from shadow_platform.contracts.rollouts import Rollout, RolloutState

if TYPE_CHECKING:
    from shadow_platform.contracts.use_case import UseCase
    from shadow_platform.contracts.verdicts import GateDecision
    from shadow_platform.resources import PlatformResource

rollout_app = typer.Typer(
    help="The way of a challenger to champion, which the gate begins: where it stands, and what it took.",
    no_args_is_help=True,
)
COLUMNS = ("at (UTC)", "rollout", "version", "state", "share", "by", "detail")


def promote(
    use_case: SoleUseCaseOption,
    version: Annotated[str | None, typer.Argument(help="Registry version to make champion at once, by hand.")] = None,
    reason: Annotated[
        str | None, typer.Option(callback=said, help="Why; stored in the audit trail. Needed but to approve.")
    ] = None,
    approve: Annotated[str | None, typer.Option(help="Id of a rollout that waits for a person: let it begin.")] = None,
    refuse: Annotated[str | None, typer.Option(help="Id of a rollout: end it; its version is not tried again.")] = None,
    evidence: Annotated[str | None, typer.Option(help="Gate decision it rests on.")] = None,
    probation: Annotated[
        float | None,
        typer.Option(help="Seconds in which a breach brings the old one back; default SLO_PROBATION_SECONDS.", min=0),
    ] = None,
    wait: WaitOption = True,
    by: ByOption = None,
) -> None:
    """Approve or refuse a rollout, or make a version champion by hand at once.

    Running services swap within seconds. Exit 1: a worker did not follow.
    """
    if sum(value is not None for value in (version, approve, refuse)) != 1:
        raise ShadowPlatformError("give one of VERSION, --approve ID and --refuse ID; `shadow rollout show` has the id")
    if approve is not None:
        _answer(use_case, approve, RolloutState.APPROVED, reason, named_person(by))
        return
    if reason is None:
        raise ShadowPlatformError("--reason is missing; say why, for the audit trail")
    if refuse is not None:
        _answer(use_case, refuse, RolloutState.REFUSED, reason, named_person(by))
        return
    from shadow_platform.cli.models.changing import promote_version

    raise typer.Exit(promote_version(use_case, version or "", reason, evidence, probation, wait, named_person(by)))


@rollout_app.command()
def show(
    use_case: UseCaseOption,
    limit: Annotated[int, typer.Option(help="Newest steps shown.", min=1)] = 20,
) -> None:
    """Where the rollout stands, what it waits for, and the steps so far."""
    from rich.console import Console
    from rich.table import Table

    platform, found = _opened(use_case)
    rollout = platform.rollout(found)
    if rollout is None:
        home = platform.layout.home
        typer.echo(f"no rollout of {found.name} in {home} so far; the gate begins one when it decides to promote")
        return
    console, table = Console(), Table(*COLUMNS)
    for row in platform.rollout_steps(found)[-limit:]:
        table.add_row(*_cells(row))
    console.print(table)
    typer.echo(
        f"rollout {rollout.rollout_id} of version {rollout.version} in place of {rollout.expected_champion}: "
        f"{rollout.state}{f', {rollout.n_failures} failures in a row' if rollout.n_failures else ''}"
    )
    typer.echo(_now(platform, found, rollout))


def _answer(use_case: str, rollout_id: str, state: RolloutState, reason: str | None, person: str) -> None:
    """Note what a person says to a rollout; raises ``ShadowPlatformError`` when it asks nobody."""
    platform, found = _opened(use_case)
    rollout = platform.settle_rollout(found)
    if rollout is None or rollout.rollout_id != rollout_id:
        there = f"rollout {rollout.rollout_id} of version {rollout.version}" if rollout else "none"
        raise ShadowPlatformError(f"rollout {rollout_id!r} of {found.name} is unknown; there: {there}")
    is_open = rollout.state is RolloutState.AWAITING_APPROVAL
    if not is_open and (state is RolloutState.APPROVED or rollout.state is not RolloutState.APPROVED):
        raise ShadowPlatformError(
            f"rollout {rollout_id} of version {rollout.version} is {rollout.state} and asks nobody: {rollout.detail}"
        )
    newest = _require_not_held(platform, found, rollout) if state is RolloutState.APPROVED else None
    now = platform.now()
    answered = rollout.model_copy(
        update={
            "state": state,
            "approved_by": person if state is RolloutState.APPROVED else rollout.approved_by,
            "step_id": platform.new_step_id(),
            "step_started_at": now,
            "stepped_at": now,
            "actor": person,
            "n_failures": 0,
            "detail": f"{state} by {person}{f': {reason}' if reason else ''}",
        }
    )
    try:
        platform.record_step(found, answered, rollout.step_id)
    except TransitionConflict as conflict:
        raise ShadowPlatformError(f"{conflict}; look at `shadow rollout show` and say it again") from conflict
    typer.echo(f"rollout {rollout_id} of version {rollout.version}: {answered.detail}")
    if newest is not None:
        typer.echo(_said(newest))
    if state is RolloutState.APPROVED:
        typer.echo(f"the sensor {found.name}_rollouts goes on within a minute, or run the job {found.name}_promote")


def _require_not_held(platform: "PlatformResource", use_case: "UseCase", rollout: Rollout) -> "GateDecision | None":
    """The gate's newest decision on the rollout; raises ``ShadowPlatformError`` when it lets nobody approve it."""
    from shadow_platform.assets.promotion.rolling import newest_decision
    from shadow_platform.domain.promotion import held_by

    newest = newest_decision(platform, use_case, rollout)
    held = held_by(newest)
    if held is not None:
        raise ShadowPlatformError(
            f"rollout {rollout.rollout_id} of version {rollout.version} is {held}; approve it once a newer decision "
            f"says otherwise, or promote by hand: `shadow promote {rollout.version} --reason ...`"
        )
    return newest


def _now(platform: "PlatformResource", use_case: "UseCase", rollout: Rollout) -> str:
    from shadow_platform.assets.promotion.rolling import seen_of
    from shadow_platform.domain.promotion import next_step

    if rollout.state.is_end:
        return f"it ended: {rollout.detail}"
    manifest, seen = platform.manifest(use_case), seen_of(platform, use_case, rollout)
    step = next_step(rollout, manifest, use_case.rollout, seen, platform.now())
    newest = f"{_said(seen.decision)}\n" if seen.decision else ""
    return f"{newest}next: {step.move}, {step.reason}"


def _said(newest: "GateDecision") -> str:
    at = f"{newest.as_of:%Y-%m-%d %H:%M} UTC"
    return f"the gate's newest decision on it, {newest.decision_id[:12]} as of {at}: {newest.decision}, {newest.reason}"


def _cells(row: dict[str, Any]) -> list[str]:
    share = row["canary_share"]
    return [
        str(row["stepped_at"])[:19],
        row["rollout_id"],
        row["version"],
        f"{row['state']}{' (failed)' if row['is_failure'] else ''}",
        "" if share is None else f"{share:.1%}",
        row["actor"],
        row["detail"],
    ]


def _opened(use_case: str) -> "tuple[PlatformResource, UseCase]":
    from shadow_platform.resources import PlatformResource
    from shadow_platform.use_cases import load_use_case

    return PlatformResource(), load_use_case(use_case)
