"""What callers and the logs may rely on when the clock passes an hour under load, steps back, or jumps ahead.

The service runs under libfaketime (Debian, Ubuntu: ``apt-get install faketime``), which gives its processes a wall
clock that the test moves; what counts seconds goes on as before.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shadow_platform.adapters.log import HOUR_S, FileLogSource
from shadow_platform_tests.bento.helpers import USE_CASE, wait_until
from shadow_platform_tests.chaos.faketime import faketime_library
from shadow_platform_tests.chaos.home import Home, running_home
from shadow_platform_tests.chaos.ledger import account
from shadow_platform_tests.chaos.load import Load

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

DAY_S = 24 * HOUR_S
LOOKS_S = 1.0
AHEAD_S = 10 * DAY_S
"""The clock starts this far ahead, so that no step leads before the deployment of the models."""


@dataclass(frozen=True)
class SteppedClock:
    """The wall clock of the service's processes, as an offset to the real one."""

    file: Path

    def step_to(self, offset_s: float) -> None:
        """Move it for every process at once."""
        moved = self.file.with_suffix(".new")
        moved.write_text(f"{AHEAD_S + offset_s:+.6f}")
        moved.replace(self.file)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> SteppedClock:
    made = SteppedClock(tmp_path_factory.mktemp("clock") / "offset")
    made.step_to(0)
    return made


@pytest.fixture(scope="module")
def home(clock: SteppedClock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A service of two workers whose clock the test moves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(faketime_library()))
        patch.setenv("FAKETIME_TIMESTAMP_FILE", str(clock.file))
        patch.setenv("FAKETIME_NO_CACHE", "1")
        patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        patch.setenv("NO_FAKE_STAT", "1")
        with running_home(tmp_path_factory.mktemp("stepped")) as running:
            running.wait_whole()
            yield running


def hours(home: Home) -> dict[str, set[str]]:
    """Process ids that wrote a segment, by hour."""
    found: dict[str, set[str]] = {}
    for segment, size in FileLogSource(home.layout.log("predictions", USE_CASE)).segments():
        hour, _, name = segment.rpartition("/")
        if size:
            found.setdefault(hour, set()).add(name.partition("-")[0])
    return found


def test_the_log_rotates_at_the_hour_under_load_and_loses_nothing(home: Home, clock: SteppedClock) -> None:
    load, before = Load(home.service.url, keeps_alive=False), hours(home)
    end_of_hour_s = DAY_S + HOUR_S - time.time() % HOUR_S
    clock.step_to(end_of_hour_s - HOUR_S / 2)

    def new_hours() -> dict[str, set[str]]:
        return {hour: pids for hour, pids in hours(home).items() if hour not in before}

    with load.running(2):
        wait_until(lambda: [len(pids) for pids in new_hours().values()] == [2], "both workers write to the first hour")
        clock.step_to(end_of_hour_s - 2)
        wait_until(lambda: [len(pids) for pids in new_hours().values()] == [2, 2], "both workers write to both hours")
        load.more_answers(50)
    assert set(load.statuses) == {200}
    found = account(load, home.layout)
    assert (found.lost, found.doubled) == (set(), set())
    home.catch_up()


STEPS_S = (HOUR_S, -HOUR_S, DAY_S, -5 * DAY_S, 0)


def test_no_line_is_lost_or_doubled_when_the_clock_steps_under_load(home: Home, clock: SteppedClock) -> None:
    load = Load(home.service.url)
    with load.running(2):
        for offset_s in STEPS_S:
            load.more_answers(40)
            clock.step_to(offset_s)
        load.more_answers(40)
    assert set(load.statuses) == {200}
    found = account(load, home.layout)
    assert (found.lost, found.doubled) == (set(), set())
    home.catch_up()


def test_no_line_is_overlooked_behind_an_hour_that_seemed_over(home: Home, clock: SteppedClock) -> None:
    for offset_s in (0, 3 * HOUR_S, DAY_S):
        clock.step_to(offset_s)
        # Time for the shadow to look at the log under this clock, at which no line waits that would show that it did.
        time.sleep(LOOKS_S)
        clock.step_to(0)
        load = Load(home.service.url)
        with load.running(2):
            load.more_answers(20)
        assert account(load, home.layout).lost == set()
        home.catch_up()
