"""A replay: any past period with any version, each prediction once, beside the live challengers."""

import json
import math
import os
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from bento.shadowing.replay import ReplayProgress, replay
from bento.shadowing.scoring import BATCH, ExclusiveWork
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.contracts.deployment import DeployedModel
from shadow_platform.contracts.errors import AlreadyRunning, LogError
from shadow_platform.contracts.layout import Layout
from shadow_platform.domain.shadow import Circuit, CircuitPolicy, IsolationPolicy
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import FAILS_ABOVE, hanging_bundle, line_bundle, raising_bundle, slow_bundle
from shadow_platform_tests.bento.helpers import USE_CASE, comparisons, deploy, outcomes, wait_until
from shadow_platform_tests.bento.shadowed import NOW, has_each_once, lane_of, log, model, problem, record

DAY = datetime(2024, 1, 1, tzinfo=UTC)
AGO = NOW - timedelta(minutes=1)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def deployed(layout: Layout) -> DeployedModel:
    manifest = read_manifest(layout.manifest(USE_CASE))
    assert manifest is not None
    return manifest.challengers[0]


def test_a_replay_scores_a_past_period_once_and_says_how_far_it_is(layout: Layout) -> None:
    log(layout, [record(n, NOW - timedelta(minutes=1)) for n in range(48)])
    challenger, said = model(line_bundle(layout.bundles)), list[ReplayProgress]()
    first = replay(layout, USE_CASE, challenger, DAY, DAY + timedelta(days=1), said.append)
    assert (first.sent, first.compared, first.failed, first.dropped, first.known) == (24, 24, 0, 0, 0)
    assert (said[-1].done, said[-1].total, said[-1].eta_s) == (24, 24, 0.0)
    assert {r.is_replay for r in comparisons(layout, "2")} == {True}
    everything = replay(layout, USE_CASE, challenger)
    assert (everything.sent, everything.known) == (24, 24)
    assert has_each_once(layout, 48)


def test_replay_and_live_never_score_the_same_prediction(layout: Layout) -> None:
    digest = line_bundle(layout.bundles)
    log(layout, [record(n, datetime.now(UTC) - timedelta(seconds=5)) for n in range(30)])
    deploy(layout, digest, {"2": digest})
    with lane_of(layout, deployed(layout)):
        log(layout, [record(n, datetime.now(UTC) + timedelta(seconds=1)) for n in range(30, 60)])
        counts = replay(layout, USE_CASE, deployed(layout))
        wait_until(lambda: has_each_once(layout, 60), "both done")
    assert counts.sent == 30
    assert Counter(r.is_replay for r in comparisons(layout, "2")) == {True: 30, False: 30}


def test_what_a_live_challenger_dropped_is_filled_and_what_it_is_due_is_left_to_it(layout: Layout) -> None:
    digest = line_bundle(layout.bundles)
    deploy(layout, digest, {"2": digest})
    silent = deployed(layout).model_copy(update={"sample_rate": 0.0})
    with lane_of(layout, silent):
        log(layout, [record(n, datetime.now(UTC)) for n in range(20)])
        wait_until(lambda: outcomes(layout, "2") == {"dropped": 20}, "dropped live")
    log(layout, [record(n, datetime.now(UTC)) for n in range(20, 30)])
    counts = replay(layout, USE_CASE, silent)
    assert (counts.sent, counts.compared, counts.known) == (20, 20, 10)
    assert outcomes(layout, "2") == {"dropped": 20, "compared": 20}
    assert replay(layout, USE_CASE, silent).sent == 0


def test_a_prediction_that_hangs_the_version_fails_and_no_other_is_dropped(layout: Layout) -> None:
    log(layout, [record(n, AGO, cart=FAILS_ABOVE + 1 if n == 0 else 20.0) for n in range(12)])
    counts = replay(
        layout,
        USE_CASE,
        model(hanging_bundle(layout.bundles)),
        isolation=IsolationPolicy(max_batch_s=1.0, tries=1),
        circuit=Circuit(CircuitPolicy(max_lost=1, pause_s=0.1)),
    )
    assert (counts.sent, counts.compared, counts.failed, counts.dropped) == (12, 11, 1, 0)
    assert has_each_once(layout, 12)


def test_failures_that_cost_no_process_do_not_hold_up_a_replay(layout: Layout) -> None:
    """A pause would never end."""
    log(layout, [record(n, AGO, cart=FAILS_ABOVE + 1 if n < BATCH else 20.0) for n in range(BATCH + 500)])
    never = Circuit(CircuitPolicy(pause_s=math.inf))
    counts = replay(layout, USE_CASE, model(raising_bundle(layout.bundles)), circuit=never)
    assert (counts.sent, counts.compared, counts.failed, counts.dropped) == (BATCH + 500, 500, BATCH, 0)


def test_the_same_replay_does_not_run_twice_at_once(layout: Layout) -> None:
    challenger = model(line_bundle(layout.bundles))
    with (
        ExclusiveWork(layout, USE_CASE, "2", "replay"),
        pytest.raises(AlreadyRunning, match=r"shadow-shop-2-replay\.lock"),
    ):
        replay(layout, USE_CASE, challenger)


def test_a_version_that_left_the_shadow_a_moment_ago_is_waited_for(layout: Layout) -> None:
    challenger = model(line_bundle(layout.bundles))
    with ExclusiveWork(layout, USE_CASE, "2", "live"), pytest.raises(AlreadyRunning, match="live"):
        replay(layout, USE_CASE, challenger)


def test_a_replay_takes_over_what_a_version_that_left_and_does_not_start_was_due(layout: Layout) -> None:
    digest, works = line_bundle(layout.bundles), line_bundle(layout.bundles, slope=0.03)
    (layout.bundles / digest).rename(layout.bundles / "elsewhere")
    log(layout, [record(n, NOW) for n in range(5)])
    said: list[ReplayProgress] = []

    def report(progress: ReplayProgress) -> None:
        with pytest.raises(AlreadyRunning), ExclusiveWork(layout, USE_CASE, "2", "live"):
            pass
        said.append(progress)

    def is_replayed() -> bool:
        with suppress(AlreadyRunning):
            replay(layout, USE_CASE, model(works), report=report)
        return bool(said)

    with lane_of(layout, model(digest)) as lane:
        lane.retire(datetime.now(UTC))
        wait_until(lambda: bool(problem(layout)), "it does not start")
        wait_until(is_replayed, "replayed between its tries")
        (layout.bundles / "elsewhere").rename(layout.bundles / digest)
        wait_until(lambda: not lane.is_alive, "it has nothing left to do")
    assert has_each_once(layout, 5)
    assert {r.is_replay for r in comparisons(layout, "2")} == {True}


def test_a_shadow_log_that_cannot_be_read_is_not_replayed_over(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    from shadow_platform.adapters.log import FileLogSource

    monkeypatch.setattr(FileLogSource, "unreadable", property(lambda self: {"segment": "permission denied"}))
    with pytest.raises(LogError, match="segment cannot be read"):
        replay(layout, USE_CASE, model(line_bundle(layout.bundles)))


def command(layout: Layout, *arguments: str) -> "subprocess.Popen[bytes]":
    """A replay as the command line and Dagster start it."""
    environment = {**os.environ, "SHADOW_HOME": str(layout.home), "SHADOW_USE_CASE": shop.NAME}
    line = [sys.executable, "-m", "bento.shadow", "--progress", "--replay", *arguments]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.processes
@pytest.mark.timeout(400)
def test_a_replay_that_is_killed_resumes_and_takes_any_version_at_low_priority(layout: Layout) -> None:
    log(layout, [record(n, NOW - timedelta(minutes=1)) for n in range(3000)])
    digest = slow_bundle(layout.bundles, 100_000)
    first = command(layout, "7", "--bundle", digest)
    wait_until(lambda: len(comparisons(layout, "7")) > 0, "it began")
    assert psutil.Process(first.pid).nice() == 15
    first.kill()
    first.communicate()
    n_before = len(comparisons(layout, "7"))
    assert 0 < n_before < 3000
    second = command(layout, "7", "--bundle", digest)
    out, said = second.communicate(timeout=240)
    assert second.returncode == 0, said
    counts = json.loads(out)
    assert (counts["known"], counts["compared"]) == (n_before, 3000 - n_before)
    progress = [json.loads(line) for line in said.splitlines() if line.startswith(b'{"done"')]
    assert progress[-1]["done"] == progress[-1]["total"] == 3000 - n_before
    assert has_each_once(layout, 3000, "7")


@pytest.mark.processes
def test_a_version_that_is_not_deployed_needs_its_bundle_named(layout: Layout) -> None:
    _, said = (process := command(layout, "7")).communicate(timeout=150)
    assert process.returncode == 1
    assert b"version 7 is no challenger of shop; deployed: none" in said


def test_a_replay_does_not_hold_up_the_live_challenger(layout: Layout) -> None:
    """The replay's model is slow; the live one, of the same version's log, compares meanwhile."""
    digest = line_bundle(layout.bundles)
    log(layout, [record(n, datetime.now(UTC) - timedelta(minutes=1)) for n in range(2000)])
    deploy(layout, digest, {"2": digest})
    slow = deployed(layout).model_copy(update={"bundle_hash": slow_bundle(layout.bundles, 100_000)})
    replaying = threading.Thread(target=replay, args=(layout, USE_CASE, slow))
    with lane_of(layout, deployed(layout)):
        replaying.start()
        wait_until(lambda: outcomes(layout, "2")["compared"] > 0, "the replay began")
        log(layout, [record(n, datetime.now(UTC)) for n in range(2000, 2010)])
        wait_until(lambda: sum(not r.is_replay for r in comparisons(layout, "2")) == 10, "live is up to date")
        replaying.join(120.0)
    assert has_each_once(layout, 2010)


def test_rows_that_raise_fail_in_a_replay_too(layout: Layout) -> None:
    log(layout, [record(n, NOW - timedelta(minutes=1), cart=float(n * 10)) for n in range(20)])
    counts = replay(layout, USE_CASE, model(raising_bundle(layout.bundles)))
    assert (counts.compared, counts.failed) == (11, 9)
