"""What several processes may rely on when they train, register, promote, roll back and reconcile at the same moment."""

from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from shadow_platform.adapters.bundle import Bundle
from shadow_platform.adapters.registry import MlflowRegistry
from shadow_platform.contracts.errors import TransitionConflict
from shadow_platform.contracts.tables import MODEL_EXPERIMENTS, MODEL_VERSIONS
from shadow_platform_tests.chaos.trainings import N_DAYS, USE_CASE, TrainingHome
from shadow_platform_tests.chaos.versions import NAME, VersionsHome, new_run
from shadow_platform_tests.forked import FORKSERVER, TIMEOUT_S, ended, started
from shadow_platform_tests.trained import make_bundle

pytestmark = [pytest.mark.processes, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> TrainingHome:
    """A home with events."""
    return TrainingHome(tmp_path_factory.mktemp("trainings") / "home").make_data()


@pytest.fixture(scope="module")
def shared_versions(tmp_path_factory: pytest.TempPathFactory) -> VersionsHome:
    """A home with versions 1, 2 and 3."""
    return VersionsHome(tmp_path_factory.mktemp("versions") / "home").make()


@pytest.fixture
def versions(shared_versions: VersionsHome) -> VersionsHome:
    """Version 2 serves, version 1 served before it."""
    shared_versions.promote("1")
    shared_versions.promote("2")
    return shared_versions


def _at_once(task: Callable[..., None], *tasks: tuple[Any, ...]) -> list[Any]:
    """What processes put out that do ``task(barrier, outcomes, *arguments)`` at the same moment."""
    barrier, outcomes = FORKSERVER.Barrier(len(tasks)), FORKSERVER.Queue()
    processes = [started(task, barrier, outcomes, *arguments) for arguments in tasks]
    found = [outcomes.get(timeout=TIMEOUT_S) for _ in processes]
    assert [ended(process) for process in processes] == [0] * len(processes)
    return found


def _train(barrier: Barrier, outcomes: "Queue[Any]", folder: Path, config: dict[str, Any]) -> None:
    register = MlflowRegistry.register

    def together(*arguments: Any, **named: Any) -> Any:
        barrier.wait(TIMEOUT_S)
        return register(*arguments, **named)

    MlflowRegistry.register = together  # type: ignore[method-assign]
    made = TrainingHome(folder).train(**config)
    outcomes.put({name: made[name] for name in ("version", "bundle_hash", "frame", "mlflow_run_id")})


def _require_accounted_for(home: TrainingHome, made: dict[str, str], scratch: Path) -> None:
    platform = home.platform
    bundle = Bundle.load(platform.registry().fetch_bundle(NAME, made["version"], scratch))
    bundle.selftest()
    assert (bundle.hash, bundle.manifest.fingerprints["data"]) == (made["bundle_hash"], made["frame"])
    versions = platform.lake().read_table(MODEL_VERSIONS, NAME).set_index("version")
    experiments = platform.lake().read_table(MODEL_EXPERIMENTS, NAME).set_index("run_id")
    assert versions.loc[made["version"], "bundle_hash"] == made["bundle_hash"]
    assert experiments.loc[made["mlflow_run_id"], "version"] == made["version"]


def test_the_same_training_twice_at_once_makes_one_version(trainings: TrainingHome, tmp_path: Path) -> None:
    one, other = _at_once(_train, *[(trainings.folder, {"seed": 1})] * 2)

    assert one["version"] == other["version"]
    assert one["mlflow_run_id"] != other["mlflow_run_id"]
    for made in (one, other):
        _require_accounted_for(trainings, made, tmp_path)
    hashes = [version.bundle_hash for version in trainings.platform.registry().versions(NAME)]
    assert hashes.count(one["bundle_hash"]) == 1


def test_trainings_on_two_frames_at_once_make_a_version_each_of_their_own_frame(
    trainings: TrainingHome, tmp_path: Path
) -> None:
    configs: list[dict[str, Any]] = [{"days": N_DAYS, "role": "champion"}, {"days": N_DAYS - 1, "role": "challenger"}]

    one, other = _at_once(_train, *[(trainings.folder, {"seed": 2, **config}) for config in configs])

    assert one["frame"] != other["frame"]
    assert one["version"] != other["version"]
    for made in (one, other):
        _require_accounted_for(trainings, made, tmp_path)


def test_training_while_others_reconcile_moves_no_alias_and_loses_nothing(
    trainings: TrainingHome, tmp_path: Path
) -> None:
    registry = trainings.platform.registry()
    version = registry.register(NAME, make_bundle(tmp_path / "made")[1], new_run(registry), {}).version
    before = trainings.platform.deploy(USE_CASE, "deploy_initial", version=version, actor="training", reason="first")
    barrier, outcomes = FORKSERVER.Barrier(1), FORKSERVER.Queue()

    process, n_reconciled = started(_train, barrier, outcomes, trainings.folder, {"seed": 3}), 0
    while process.is_alive():
        assert trainings.platform.reconcile(USE_CASE) == before
        n_reconciled += 1

    assert n_reconciled > 0
    made = outcomes.get(timeout=TIMEOUT_S)
    assert ended(process) == 0
    _require_accounted_for(trainings, made, tmp_path)
    assert [known.version for known in registry.versions(NAME) if known.aliases] == [version]


def _register(barrier: Barrier, outcomes: "Queue[Any]", folder: Path, bundle: Path, run_id: str) -> None:
    registry = VersionsHome(folder).platform.registry()
    registry.versions(NAME)
    barrier.wait(TIMEOUT_S)
    outcomes.put(registry.register(NAME, bundle, run_id, {}).version)


def test_a_bundle_registered_by_many_at_once_becomes_one_version(versions: VersionsHome, tmp_path: Path) -> None:
    registry = versions.platform.registry()
    digest, bundle = make_bundle(tmp_path / "made", seed=4)
    n_before = len(registry.versions(NAME))

    found = _at_once(_register, *[(versions.folder, bundle, new_run(registry)) for _ in range(4)])

    assert len(set(found)) == 1
    assert len(registry.versions(NAME)) == n_before + 1
    assert registry.fetch_bundle(NAME, found[0], tmp_path / "fetched").name == digest


def _change(barrier: Barrier, outcomes: "Queue[Any]", folder: Path, change: Any, arguments: dict[str, Any]) -> None:
    home = VersionsHome(folder)
    home.platform.registry().versions(NAME)
    barrier.wait(TIMEOUT_S)
    try:
        home.platform.deploy(USE_CASE, change, reason="raced", **arguments)
        outcomes.put((arguments["actor"], None))
    except TransitionConflict as conflict:
        outcomes.put((arguments["actor"], str(conflict)))


def test_one_of_two_promotions_wins_and_the_other_is_told_by_whom_it_was_beaten(versions: VersionsHome) -> None:
    generation = versions.manifest.generation
    asked = {"gate of 1": "1", "gate of 3": "3"}

    found = _at_once(
        _change,
        *[
            (versions.folder, "promote", {"version": version, "actor": actor, "expected_champion": "2"})
            for actor, version in asked.items()
        ],
    )

    (winner,) = [actor for actor, conflict in found if conflict is None]
    (told,) = [conflict for _, conflict in found if conflict is not None]
    assert f"serves version {asked[winner]}, but" in told
    assert f"was judged against 2; evaluate the gate again; the last recorded change was by {winner} at 20" in told
    assert versions.manifest.champion.version == asked[winner]
    assert versions.manifest.generation == generation + 1
    versions.require_agreement()


def test_promotion_and_rollback_at_once_happen_one_behind_the_other_or_one_is_refused(versions: VersionsHome) -> None:
    generation = versions.manifest.generation
    promotion = {"version": "3", "actor": "gate", "expected_champion": "2"}

    found = dict(
        _at_once(
            _change,
            (versions.folder, "promote", promotion),
            (versions.folder, "rollback", {"actor": "a person"}),
        )
    )

    assert found["a person"] is None, "a rollback goes back from whatever serves"
    champion = versions.manifest.champion.version
    if found["gate"] is None:
        assert (champion, versions.manifest.generation) == ("2", generation + 2)
    else:
        assert "the last recorded change was by a person at 20" in found["gate"]
        assert (champion, versions.manifest.generation) == ("1", generation + 1)
    versions.require_agreement()
