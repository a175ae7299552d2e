"""The shadow worker: what was due is recorded once, however often its processes and files are lost."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from prometheus_client import CollectorRegistry

from bento.shadow import ShadowWorker
from bento.shadowing.lane import Lane
from bento.shadowing.lane_progress import Progress, read_progress, write_progress
from bento.shadowing.offsets import shadow_root
from bento.shadowing.shadow_metrics import ShadowMetrics
from shadow_platform.adapters.deployment import read_manifest, write_manifest
from shadow_platform.adapters.log import FileLogSource
from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import LoggedLine
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import FAILS_ABOVE, hanging_bundle, line_bundle
from shadow_platform_tests.bento.helpers import USE_CASE, comparisons, deploy, outcomes, wait_until
from shadow_platform_tests.bento.shadowed import (
    NOW,
    has_each_once,
    lane_of,
    log,
    model,
    pass_a_millisecond,
    problem,
    record,
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_a_restart_reads_the_tail_of_its_own_log_only(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed = model(line_bundle(layout.bundles))
    path = layout.shadow_progress(USE_CASE, "2")
    log(layout, [record(n, NOW) for n in range(500)])
    with lane_of(layout, deployed):
        wait_until(lambda: sum(p.covered.values()) > 0 if (p := read_progress(path)) else False, "saved")
        wait_until(lambda: has_each_once(layout, 500), "compared")
        size = sum(segment.stat().st_size for segment in shadow_root(layout, USE_CASE, "2").rglob("*.jsonl"))
        wait_until(lambda: (p := read_progress(path)) is not None and sum(p.covered.values()) == size, "all of it")
    read: list[str] = []
    lines = FileLogSource._lines

    def watched(self: FileLogSource, segment: str, start: int) -> Iterator[LoggedLine]:
        read.append(segment)
        return lines(self, segment, start)

    monkeypatch.setattr(FileLogSource, "_lines", watched)
    log(layout, [record(n, NOW) for n in range(500, 510)])
    with lane_of(layout, deployed):
        wait_until(lambda: len(list(shadow_root(layout, USE_CASE, "2").rglob("*.jsonl"))) == 2, "it goes on")
    assert len(read) == 1, "the new predictions' segment, and nothing of its own log"
    wait_until(lambda: has_each_once(layout, 510), "compared")


def test_progress_that_is_lost_corrupt_or_old_doubles_and_loses_nothing(layout: Layout) -> None:
    rng = random.Random(0)
    deployed = model(line_bundle(layout.bundles))
    path, n = layout.shadow_progress(USE_CASE, "2"), 0
    first = b""
    for damage in ("none", "lost", "corrupt", "torn", "old", "newer than the log"):
        log(layout, [record(i, NOW) for i in range(n, n + 40)])
        n += 40
        with lane_of(layout, deployed):
            wait_until(lambda: has_each_once(layout, n), f"before: {damage}")  # noqa: B023 - awaited at once
            wait_until(path.exists, "saved")
        first = first or path.read_bytes()
        if damage == "lost":
            path.unlink()
        elif damage == "corrupt":
            path.write_bytes(rng.randbytes(200))
        elif damage == "torn":
            path.write_bytes(path.read_bytes()[:-20])
        elif damage == "old":
            path.write_bytes(first)
        elif damage == "newer than the log":
            newest = max(shadow_root(layout, USE_CASE, "2").rglob("*.jsonl"), key=lambda p: p.stat().st_mtime_ns)
            newest.write_bytes(newest.read_bytes()[:-1500])
    assert 0 < len(comparisons(layout, "2")) < n
    with lane_of(layout, deployed):
        wait_until(lambda: has_each_once(layout, n), "all of them once")


def test_a_shadow_log_that_cannot_be_read_is_not_scored_twice(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed = model(line_bundle(layout.bundles))
    log(layout, [record(n, NOW) for n in range(5)])
    with lane_of(layout, deployed):
        wait_until(lambda: has_each_once(layout, 5), "compared")
    path = layout.shadow_progress(USE_CASE, "2")
    path.unlink(missing_ok=True)
    monkeypatch.setattr(FileLogSource, "unreadable", property(lambda self: {"segment": "permission denied"}))
    with lane_of(layout, deployed):
        wait_until(lambda: "scored twice" in problem(layout), "it refuses")
    monkeypatch.undo()
    log(layout, [record(5, NOW)])
    with lane_of(layout, deployed):
        wait_until(lambda: has_each_once(layout, 6), "a further one, and the others still once")


def test_gauges_of_dead_processes_are_removed_and_their_counts_stand(tmp_path: Path) -> None:
    script = (
        "import sys; from bento.shadowing.shadow_metrics import ShadowMetrics, forget_dead_processes\n"
        "forget_dead_processes(); m = ShadowMetrics(); m.state(sys.argv[1], 7.0, 'open')\n"
        "m._outcomes.labels('2', 'compared').inc(5)\n"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for challenger in ("2", "3"):
        subprocess.run([sys.executable, "-c", script, challenger], env=environment, check=True)
    read = (
        "from prometheus_client import CollectorRegistry, generate_latest, multiprocess\n"
        "r = CollectorRegistry(); multiprocess.MultiProcessCollector(r); print(generate_latest(r).decode())"
    )
    text = subprocess.run(
        [sys.executable, "-c", read], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert 'shadow_predictions_total{challenger="2",outcome="compared"} 10.0' in text
    assert 'shadow_lag_seconds{challenger="3"} 7.0' in text
    assert 'shadow_lag_seconds{challenger="2"}' not in text


@contextmanager
def worker(layout: Layout, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The shadow worker as it is deployed, ended with everything it started."""
    environment = {**os.environ, "SHADOW_HOME": str(layout.home), "SHADOW_USE_CASE": name, "OMP_NUM_THREADS": "1"}
    with (layout.home / "worker.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bento.shadow"], env=environment, stdout=output, stderr=output, process_group=0
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def children(process: "subprocess.Popen[bytes]") -> dict[str, int]:
    """Process ids of the models by challenger."""
    found = {}
    for child in psutil.Process(process.pid).children():
        with suppress(psutil.Error):
            line = child.cmdline()
            if "--challenger" in line:
                found[line[line.index("--challenger") + 1]] = child.pid
    return found


@pytest.mark.processes
def test_one_challenger_that_hangs_holds_up_neither_the_other_nor_the_worker(layout: Layout) -> None:
    good, hanging = line_bundle(layout.bundles), hanging_bundle(layout.bundles)
    deploy(layout, good, {"2": hanging, "3": good})
    with worker(layout, shop.NAME) as process:
        log(layout, [record(n, datetime.now(UTC), cart=FAILS_ABOVE + 1) for n in range(50)])
        wait_until(lambda: has_each_once(layout, 50, "3"), "the other is done")
        assert comparisons(layout, "2") == []
        wait_until(lambda: children(process).keys() == {"2", "3"}, "each has a process of its own")
        models = children(process)
        process.send_signal(signal.SIGTERM)
        process.wait(90)
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in models.values()), "its models end with it")


@pytest.mark.processes
def test_kills_of_the_worker_and_its_models_at_any_moment_lose_and_double_nothing(layout: Layout) -> None:
    rng = random.Random(7)
    digest, n = line_bundle(layout.bundles), 0
    deploy(layout, digest, {"2": digest})
    for round_ in range(3):
        with worker(layout, shop.NAME) as process:
            wait_until(lambda: children(process) != {} or has_each_once(layout, n), "it runs")  # noqa: B023
            for _ in range(6):
                log(layout, [record(i, datetime.now(UTC)) for i in range(n, n + 300)])
                n += 300
                if rng.random() < 0.5:
                    for pid in children(process).values():
                        with suppress(ProcessLookupError):
                            os.kill(pid, rng.choice([signal.SIGKILL, signal.SIGSEGV]))
            compared = len(comparisons(layout, "2"))
            if round_ % 2:
                wait_until(lambda: len(comparisons(layout, "2")) > compared, "some more")  # noqa: B023
            process.kill()
            process.wait()
        if round_ == 1:
            layout.shadow_progress(USE_CASE, "2").unlink(missing_ok=True)
    with worker(layout, shop.NAME):
        wait_until(lambda: has_each_once(layout, n), "each prediction has its one record")


@pytest.mark.processes
def test_challengers_come_change_and_go_while_the_worker_runs_and_while_it_does_not(layout: Layout) -> None:
    digest = line_bundle(layout.bundles)
    deploy(layout, digest)
    path = layout.manifest(USE_CASE)
    with worker(layout, shop.NAME) as process:
        log(layout, [record(n, datetime.now(UTC)) for n in range(10)])
        pass_a_millisecond()
        deploy(layout, digest, {"2": digest})
        log(layout, [record(n, datetime.now(UTC)) for n in range(10, 30)])
        wait_until(lambda: has_each_once(layout, 20, "2"), "zero challengers, then one")
        manifest = read_manifest(path)
        assert manifest is not None
        silent = manifest.challengers[0].model_copy(update={"sample_rate": 0.0})
        write_manifest(path, manifest.model_copy(update={"challengers": (silent,), "generation": 9}))
        wait_until(lambda: _sample_rate(layout) == 0.0, "the new rate is in force")
        log(layout, [record(n, datetime.now(UTC)) for n in range(30, 40)])
        wait_until(lambda: outcomes(layout, "2") == {"compared": 20, "dropped": 10}, "by the new rate")
        process.kill()
        process.wait()
    log(layout, [record(n, datetime.now(UTC)) for n in range(40, 45)])
    pass_a_millisecond()
    deploy(layout, digest)
    with worker(layout, shop.NAME):
        wait_until(lambda: has_each_once(layout, 35, "2"), "what it was due when it left is recorded")


def _sample_rate(layout: Layout) -> float | None:
    progress = read_progress(layout.shadow_progress(USE_CASE, "2"))
    return progress.deployed.sample_rate if progress else None


@pytest.fixture
def idle(layout: Layout) -> ShadowWorker:
    return ShadowWorker(layout, USE_CASE, ShadowMetrics(CollectorRegistry()))


def deployed_now(layout: Layout, *versions: str) -> DeploymentManifest:
    """The next manifest, with these challengers."""
    digest = line_bundle(layout.bundles)
    deploy(layout, digest, dict.fromkeys(versions, digest))
    found = read_manifest(layout.manifest(USE_CASE))
    assert found is not None
    return found


def test_a_challenger_that_leaves_compares_all_workers_up_to_the_same_time(layout: Layout) -> None:
    """It compared a line of one worker that is later than the swap, so it owes those of the others too."""
    metrics, patient = ShadowMetrics(CollectorRegistry()), timedelta(hours=1)
    idle = ShadowWorker(layout, USE_CASE, metrics, lambda model: Lane(layout, USE_CASE, model, metrics, grace=patient))
    idle._follow(deployed_now(layout, "2"))
    swap = deployed_now(layout)
    later = swap.written_at + timedelta(milliseconds=1)
    log(layout, [record(0, later)])
    wait_until(lambda: has_each_once(layout, 1), "one worker's compared")
    idle._follow(swap)
    log(layout, [record(1, later)])
    wait_until(lambda: has_each_once(layout, 2), "the other's too")
    idle.stop()
    idle.run()


def test_a_version_that_left_and_came_back_while_no_worker_ran_finishes_its_first_stay(
    layout: Layout, idle: ShadowWorker
) -> None:
    first = model(line_bundle(layout.bundles), since=NOW - timedelta(hours=2))
    log(layout, [record(n, NOW - timedelta(hours=1)) for n in range(5)])
    write_progress(layout.shadow_progress(USE_CASE, "2"), Progress(deployed=first, after={}, covered={}))
    (lane,) = idle._finish_left_behind(deployed_now(layout, "2"))
    wait_until(lambda: not lane.is_alive, "its first stay is over")
    assert has_each_once(layout, 5)


def test_a_worker_without_a_manifest_waits(layout: Layout, idle: ShadowWorker) -> None:
    thread = threading.Thread(target=idle.run)
    thread.start()
    digest = line_bundle(layout.bundles)
    log(layout, [record(0, datetime.now(UTC) + timedelta(hours=1))])
    deploy(layout, digest, {"2": digest})
    wait_until(lambda: has_each_once(layout, 1), "compared once there is a manifest")
    idle.stop()
    thread.join(90.0)
    assert not thread.is_alive()
