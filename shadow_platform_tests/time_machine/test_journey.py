"""Guarantees of the time machine: the same trip gives the same bytes, however often it was stopped."""

import hashlib
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.tables import PREDICTIONS, SHADOW_COMPARISONS
from shadow_platform.resources import PlatformResource
from shadow_platform.telemetry.quiet import quiet
from shadow_platform.time_machine import Journey, Trip, plan_trip
from shadow_platform_tests.tiny import USE_CASE

pytestmark = pytest.mark.timeout(1200)
START, N_DAYS = date(2024, 2, 12), 14
FILES = ("timeline.csv", "timeline.parquet", "performance.csv", "summary.json", "timeline.png", "timeline.html")


class Killed(Exception):
    """The journey ends in the middle of a step."""


def trip_of(policy: str, n_days: int = N_DAYS) -> Trip:
    return plan_trip(USE_CASE, policy, start=START, n_days=n_days)


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, worlds: Path) -> Journey:
    """A journey through the gate, from its first day to its last."""
    journey = Journey(trip_of("ours"), tmp_path_factory.mktemp("ours"), worlds)
    with pytest.MonkeyPatch.context() as patch, quiet():
        patch.setenv("SHADOW_EXTRA_USE_CASES", "shadow_platform_tests.tiny:USE_CASE")
        journey.play()
    return journey


def test_a_journey_that_was_stopped_and_goes_on_gives_the_same_bytes(
    ours: Journey, worlds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHADOW_EXTRA_USE_CASES", "shadow_platform_tests.tiny:USE_CASE")

    def stop(what: str, day: date) -> None:
        if what == "judge" and day == date(2024, 2, 26):
            raise Killed

    with quiet(), pytest.raises(Killed):
        Journey(trip_of("ours"), tmp_path, worlds, stop).play()
    with quiet():
        Journey(trip_of("ours"), tmp_path, worlds).play()

    assert digests(tmp_path) == digests(ours.folder)


def test_a_journey_answers_every_request_once_and_shadows_it(ours: Journey) -> None:
    lake = PlatformResource(shadow_home=str(ours.home)).lake()
    answers = lake.read_table(PREDICTIONS, USE_CASE)
    compared = lake.read_table(SHADOW_COMPARISONS, USE_CASE)

    assert len(answers) == N_DAYS * 200
    assert answers["request_id"].is_unique
    assert set(compared["outcome"]) == {"compared"}
    assert not compared.duplicated(["request_id", "challenger_version"]).any()


def test_a_shift_is_seen_trained_on_and_judged(ours: Journey) -> None:
    events = pd.read_csv(ours.folder / "timeline.csv", keep_default_na=False)

    failed = events[events["kind"].eq("drift") & events["outcome"].eq("fail")]
    assert failed["day"].min() == "2024-02-19"
    trained = events[events["kind"].eq("training") & events["outcome"].eq("registered")]
    assert trained["day"].tolist()[:2] == ["2024-02-12", "2024-02-19"]
    assert {"decision"} <= set(events.loc[events["day"] > "2024-02-19", "kind"])


def test_without_a_policy_the_first_model_answers_for_ever_from_a_home_of_its_own(
    ours: Journey, worlds: Path, tmp_path: Path
) -> None:
    trip = plan_trip(USE_CASE, "never", start=START, n_days=7, model="trees")
    with quiet():
        summary = Journey(trip, tmp_path, worlds).play()

    assert summary["champions"] == ["1"]
    assert (summary["n_retrainings"], summary["n_promotions"]) == (0, 0)
    assert summary["n_answers"] == 7 * 200
    first = pd.read_csv(tmp_path / "timeline.csv").iloc[0]
    assert first["detail"] == "trees, the first model"
    assert all((home / "mlflow" / "mlflow.db").exists() for home in (ours.home, tmp_path / "home"))


def test_another_trip_does_not_go_on_in_the_folder_of_one(ours: Journey, worlds: Path) -> None:
    with pytest.raises(ShadowPlatformError, match="holds another journey"):
        Journey(trip_of("never"), ours.folder, worlds).play()


def test_a_first_model_that_cannot_be_trained_is_told_with_the_reason(worlds: Path, tmp_path: Path) -> None:
    trip = plan_trip(USE_CASE, "never", start=date(2024, 1, 3), n_days=1)
    with quiet(), pytest.raises(ShadowPlatformError, match=r"no first model on 2024-01-03: .* labelled rows.* --start"):
        Journey(trip, tmp_path, worlds).play()
