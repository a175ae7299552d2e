"""Changes of the deployment that are killed at each of their steps, and what must be true after the repair.

Belongs here: the home they are killed in, judging what is left. Does not belong here: the changes (``changes``), dying
(``dying``), tables and assertions. Upstream: the platform's transitions on a real MLflow database. Downstream:
test_rollout_kills, ``benchmarks.decisions.kills``.

What a kill and a repair by a fresh process leave must be the state of a home where the change never began, or of one
where it was carried out, to the last alias and audit row; and what was in force at the kill stays in force.
"""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shadow_platform.adapters.deployment import aliases_of
from shadow_platform.adapters.deployment.journal import intent_path
from shadow_platform.adapters.log import FileLogSource
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.chaos.changes import NAME, Act, Change
from shadow_platform_tests.chaos.dying import Steps, forked
from shadow_platform_tests.chaos.trainings import USE_CASE
from shadow_platform_tests.chaos.versions import new_run
from shadow_platform_tests.trained import make_bundle

ONE_CONNECTION_A_USE = {"MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool"}
"""So that nothing is open in a process that forks."""
N_VERSIONS = 4
PASSING = ("_at", "_until", "since", "salt", "step_id", "transition_id")


@dataclass(frozen=True, slots=True)
class Told:
    """What a home says of its deployment: manifest and rollout without their times, and the rows of both logs."""

    state: dict[str, Any]
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kill:
    """What came of one kill.

    Attributes:
        step: where it was killed.
        is_done: whether the change is in force after the repair.
        split: what disagrees after the repair.
        lost: audit rows of what is in force that are missing.
        n_doubled: audit rows that were appended again, one row to every reader.
        n_left: files that a dead process left behind and the repair did not remove.
    """

    step: str
    is_done: bool
    split: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    n_doubled: int = 0
    n_left: int = 0


@dataclass
class KillingGround:
    """A home that is put back to where a change begins before each kill."""

    folder: Path
    home: Path = field(init=False)
    platform: PlatformResource = field(init=False)
    _states: dict[tuple[Act, ...], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        os.environ |= ONE_CONNECTION_A_USE
        self.folder.mkdir(parents=True, exist_ok=True)
        self.home = self.folder / "home"
        self.platform = PlatformResource(shadow_home=str(self.home))

    def make(self) -> "KillingGround":
        """Register the versions; nothing is deployed."""
        registry = self.platform.registry()
        for seed in range(N_VERSIONS):
            digest, made = make_bundle(self.folder / "made", seed=seed)
            registry.register(NAME, made, new_run(registry), {})
            shutil.copytree(made, self.platform.layout.bundles / digest)
        self._keep("registered")
        return self

    def kills(self, change: Change, stride: int = 1, first: int = 1) -> Iterator[Kill]:
        """Kill the change at every ``stride``-th of its steps, from the ``first``."""
        self._prepare(change)
        outcomes = [self._outcome("begun", change, change.act), self._outcome("begun", change)]
        if change.forgets:
            outcomes.append(self._outcome("living", change))
        for number, name in list(enumerate(self._steps_of(change.act), 1))[first - 1 :: stride]:
            self._put_back("begun")
            code = self._in_fork(lambda: self._die(change.act, number))  # noqa: B023
            assert code == -signal.SIGKILL, f"{change.name}: step {number} ({name}) ended with {code}: {self._error()}"
            yield self._judged(name, change, outcomes)

    def _prepare(self, change: Change) -> None:
        *before, last = change.before or (None,)
        living = self._state(tuple(before))
        if last is None:
            self._put_back(living)
        elif change.dies_at is None:
            self._put_back(self._state(change.before))
        else:
            name, nth = change.dies_at
            places = [n for n, found in enumerate(self._steps_of(last, living), 1) if found == name]
            self._put_back(living)
            assert self._in_fork(lambda: self._die(last, places[nth - 1])) == -signal.SIGKILL
            self._keep("living", of=living)
        self._keep("begun")

    def _state(self, before: tuple[Act, ...]) -> str:
        """Name of the kept state that these lead to; made once."""
        if not before:
            return "registered"
        if before not in self._states:
            self._put_back(self._state(before[:-1]))
            self._do(before[-1])
            self._states[before] = f"state {len(self._states)}"
            self._keep(self._states[before])
        return self._states[before]

    def _outcome(self, state: str, change: Change, act: Act | None = None) -> Told:
        self._put_back(state)
        if act is not None:
            self._do(act)
        self._do(change.repair)
        return self._told()

    def _steps_of(self, act: Act, state: str = "begun") -> list[str]:
        self._put_back(state)
        names = self.folder / "steps.json"

        def run() -> None:
            steps = Steps(self.home, None).watch()
            act(self.platform)
            names.write_text(json.dumps(steps.names))

        assert self._in_fork(run) == 0, self._error()
        found: list[str] = json.loads(names.read_text())
        return found

    def _die(self, act: Act, number: int) -> None:
        Steps(self.home, number).watch()
        act(self.platform)

    def _judged(self, step: str, change: Change, outcomes: Sequence[Told]) -> Kill:
        in_force = self.platform.manifest(USE_CASE)
        self._do(change.repair)
        told, split = self._told(), list(self._disagreements())
        allowed = next((outcome for outcome in outcomes if outcome.state == told.state), outcomes[-1])
        if told.state != allowed.state:
            split.append(f"the state is {told.state}")
        generation = told.state["manifest"]["generation"] if told.state["manifest"] else 0
        if in_force is not None and in_force.generation > generation:
            split.append(f"generation {in_force.generation} was in force, {generation} is")
        split += [f"audit row of what never was: {row}" for row in _missing(told.rows, allowed.rows)]
        self._do(change.repair)
        if self._told() != told:
            split.append("a second repair changes something")
        return Kill(
            step=step,
            is_done=told.state == outcomes[0].state,
            split=tuple(split),
            lost=tuple(_missing(allowed.rows, told.rows)),
            n_doubled=self._n_lines() - len(told.rows),
            n_left=sum(1 for _ in self._left()),
        )

    def _told(self) -> Told:
        platform = self.platform
        state = {"manifest": platform.manifest(USE_CASE), "rollout": platform.rollout(USE_CASE)}
        rows = [*platform.transitions(USE_CASE), *platform.rollout_steps(USE_CASE)]
        return Told(
            {name: value and _timeless(value.model_dump(mode="json")) for name, value in state.items()},
            tuple(sorted(json.dumps(_timeless(row), sort_keys=True) for row in rows)),
        )

    def _disagreements(self) -> Iterator[str]:
        manifest, registry = self.platform.manifest(USE_CASE), self.platform.registry()
        wanted = aliases_of(manifest) if manifest else {"champion": None}
        for alias, version in wanted.items():
            found = registry.alias(NAME, alias)
            if found != version:
                yield f"alias {alias} is at {found}, the manifest at {version}"
        if intent_path(self.platform.layout, NAME).exists():
            yield "an intent is left"
        bundles = self.platform.layout.bundles
        for model in (manifest.champion, *manifest.challengers) if manifest else ():
            if not (bundles / model.bundle_hash / "bundle.json").exists():
                yield f"bundle of version {model.version} is not here"

    def _left(self) -> Iterator[Path]:
        yield from self.platform.layout.manifest(NAME).parent.glob(".*")
        yield from self.platform.layout.bundles.glob(".*")

    def _n_lines(self) -> int:
        logs = [self.platform.layout.log(stream, NAME) for stream in ("transitions", "rollouts")]
        return sum(1 for log in logs for _ in FileLogSource(log).read({}))

    def _do(self, act: Act) -> None:
        assert self._in_fork(lambda: act(self.platform)) == 0, self._error()

    def _in_fork(self, task: Callable[[], object]) -> int:
        return forked(task, self.folder / "error")

    def _error(self) -> str:
        file = self.folder / "error"
        return file.read_text() if file.exists() else "no traceback"

    def _keep(self, state: str, of: str = "home") -> None:
        shutil.rmtree(self.folder / state, ignore_errors=True)
        shutil.copytree(self.folder / of, self.folder / state)

    def _put_back(self, state: str) -> None:
        shutil.rmtree(self.home)
        shutil.copytree(self.folder / state, self.home)


def _missing(wanted: Sequence[str], found: Sequence[str]) -> list[str]:
    left = list(found)
    missing = []
    for row in wanted:
        if row in left:
            left.remove(row)
        else:
            missing.append(row)
    return missing


def _timeless(value: Any) -> Any:
    """The value without what differs between two runs."""
    if isinstance(value, dict):
        return {name: _timeless(item) for name, item in value.items() if not name.endswith(PASSING)}
    return [_timeless(item) for item in value] if isinstance(value, list) else value
