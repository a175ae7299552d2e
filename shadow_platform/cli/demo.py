"""Plays the whole loop on recorded traffic: the jobs, the service and the sensor that a user would run.

Upstream: every stage. Downstream: a newcomer, and the README's pictures. Each stage first asks whether its work is
already done, so a second run continues where the first one stopped.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bento.api.access import SHADOW_READ, authorization
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.cli.closing import closing_table
from shadow_platform.cli.runs import prepare_dagster_home, run_job
from shadow_platform.cli.simulation import choose
from shadow_platform.cli.traffic import replay_traffic
from shadow_platform.contracts.errors import AlreadyRunning, ShadowPlatformError
from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.contracts.tables import DRIFT_VERDICTS
from shadow_platform.contracts.use_case import DemoPlan, UseCase
from shadow_platform.partitions import partition_range, start_of
from shadow_platform.resources import PlatformResource
from shadow_platform.settings import load_settings
from shadow_platform.use_cases import load_use_case

CONSOLE = Console()
DAEMON_TIMEOUT_S = 600
CATCH_UP_TIMEOUT_S = 180
FOLLOW_TIMEOUT_S = 120
DAY = timedelta(days=1)
BROKEN = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass
class Demo:
    """One demo: the use case, its plan, and the instance everything runs on."""

    address: str
    use_case: UseCase
    plan: DemoPlan
    platform: PlatformResource
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    progress: Progress
    stage_seconds: dict[str, float] = field(default_factory=dict)

    def job(self, name: str) -> dg.JobDefinition:
        """Job of this use case by its short name."""
        return self.definitions.resolve_job_def(f"{self.use_case.name}_{name}")

    def configured(self, asset: str, **values: str) -> dict[str, Any]:
        """Run configuration of one asset."""
        return {f"{self.use_case.name}__{asset}": {"config": values}}

    def has_run(self, job: str, **tags: str) -> bool:
        """Whether a run of the job with these tags has succeeded on this instance."""
        filters = dg.RunsFilter(
            job_name=f"{self.use_case.name}_{job}", statuses=[dg.DagsterRunStatus.SUCCESS], tags=tags or None
        )
        return bool(self.instance.get_runs(filters, limit=1))

    def run(
        self, title: str, job: str, *, tags: dict[str, str] | None = None, config: dict[str, Any] | None = None
    ) -> None:
        """Run a job under a progress bar unless it already succeeded with the same tags."""
        definition = self.job(job)
        with self.stage(title, len(definition.graph.node_dict)) as advance:
            if not self.has_run(job, **(tags or {})):
                run_job(
                    definition,
                    self.instance,
                    run_config={"ops": config} if config else None,
                    tags=tags,
                    on_step=lambda _: advance(1),
                )

    @contextmanager
    def stage(self, title: str, total: float) -> Iterator[Callable[[float], None]]:
        """A progress bar; its time is kept for the benchmark of the stages."""
        task = self.progress.add_task(title, total=total)
        began = time.perf_counter()
        yield lambda steps: self.progress.update(task, advance=steps)
        self.stage_seconds[title] = time.perf_counter() - began
        self.progress.update(task, completed=total)
        self.progress.stop_task(task)


def run_demo(
    use_case_name: str, home: Path | None, chosen: Callable[[UseCase], SimulationPlan | None] = lambda _: None
) -> None:
    """Play the loop and print where everything stands.

    Args:
        chosen: the simulation to play; ``None``: the one this home plays anyway, or real events.

    Raises:
        AlreadyRunning: another demo uses the same home.
        ShadowPlatformError: a stage failed; what was done stays, and the next call continues.
    """
    if home:
        os.environ["SHADOW_HOME"] = str(home)
    if ":" in use_case_name:
        os.environ.setdefault("SHADOW_EXTRA_USE_CASES", use_case_name)
    platform = PlatformResource()
    use_case = load_use_case(use_case_name)
    if use_case.demo is None:
        raise ShadowPlatformError(
            f"{use_case_name} has no recorded days to play; choose a use case that declares a demo"
        )
    lock = FileLock(platform.layout.locks(f"demo-{use_case.name}"))
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise AlreadyRunning(
            f"another demo is running on {platform.layout.home}; wait for it, or give --home another folder"
        ) from None
    with lock:
        simulated = chosen(use_case)
        if simulated is not None:
            choose(platform, use_case, simulated)
        _play(use_case_name, use_case, use_case.demo, platform)


def _play(address: str, use_case: UseCase, plan: DemoPlan, platform: PlatformResource) -> None:
    prepare_dagster_home(platform.settings)
    columns = (TextColumn("{task.description:<46}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=CONSOLE) as progress, dg.DagsterInstance.get() as instance:
        from shadow_platform.definitions import build_definitions

        demo = Demo(address, use_case, plan, platform, instance, build_definitions([use_case]), progress)
        _prepare_models(demo)
        _serve_and_judge(demo)
    CONSOLE.print(closing_table(platform, use_case))
    CONSOLE.print("seconds a stage: " + ", ".join(f"{k} {v:.0f}" for k, v in demo.stage_seconds.items()))


def _prepare_models(demo: Demo) -> None:
    plan, start = demo.plan, start_of(demo.plan.serve_from)
    first, last = demo.use_case.first_partition, plan.judged_at - DAY
    demo.run("events and features", "ingest", tags=partition_range(first, last))
    demo.run("champion and challenger", "train", config=demo.configured("training_frame", as_of=start.isoformat()))
    window = {"start": start_of(first).isoformat(), "end": start.isoformat()}
    demo.run("online features", "materialize", config=demo.configured("online_features", **window))


def _serve_and_judge(demo: Demo) -> None:
    from bento.serve import free_port, running_service

    plan, served = demo.plan, partition_range(demo.plan.serve_from, demo.plan.serve_until - DAY)
    as_of = start_of(plan.judged_at).isoformat()
    with running_service(demo.platform.settings, demo.address, free_port(), 1, shadow=True) as service:
        _send_traffic(demo, service.url)
        demo.run("tables and drift verdicts", "monitor", tags=served)
        if _has_drifted(demo):
            _retrain_by_sensor(demo)
        demo.run("tables with the new challenger", "compare", tags=served)
        if plan.judged_at > plan.serve_until:
            demo.run("labels that came later", "label", tags=partition_range(plan.serve_until, plan.judged_at - DAY))
        judged = demo.configured("performance_daily", as_of=as_of) | demo.configured("gate_decision", as_of=as_of)
        demo.run("verdict and promotion", "decide", tags={"as_of": as_of}, config=judged)
        with demo.stage("the running service follows", 1):
            _wait_for_champion(demo, service.url)


def _send_traffic(demo: Demo, url: str) -> None:
    plan = demo.plan
    with demo.stage("traffic, answered and shadowed", (plan.serve_until - plan.serve_from).days * 24) as advance:
        if demo.has_run("monitor"):
            return
        report = replay_traffic(
            demo.use_case,
            start_of(plan.serve_from),
            start_of(plan.serve_until),
            url=url,
            on_hour=lambda *_: advance(1),
            platform=demo.platform,
        )
        if report.failed:
            raise ShadowPlatformError(f"{report.failed} of {report.sent} requests failed: {report.first_failure}")
        _wait_for_shadow(url)


def _told(url: str) -> dict[str, Any]:
    headers = authorization(load_settings(), SHADOW_READ)
    answer: dict[str, Any] = httpx.get(url, headers=headers, trust_env=False, timeout=60).json()
    return answer


def _wait_for_shadow(url: str) -> None:
    deadline = time.monotonic() + CATCH_UP_TIMEOUT_S
    while time.monotonic() < deadline:
        comparison = _told(f"{url}/shadow/comparison")
        if all(entry["lag_records"] == 0 for entry in comparison["challengers"]):
            return
        time.sleep(0.2)
    raise ShadowPlatformError(f"the shadow worker did not catch up within {CATCH_UP_TIMEOUT_S} s; see its output above")


def _has_drifted(demo: Demo) -> bool:
    """Whether a verdict of the served days failed: else no sensor starts anything, and the first models are judged."""
    verdicts = demo.platform.lake().read_table(DRIFT_VERDICTS, demo.use_case, demo.plan.serve_from)
    return bool(verdicts["outcome"].eq("fail").any())


def _retrain_by_sensor(demo: Demo) -> None:
    """Let the daemon's sensor see the drift verdict and wait for the run it starts; one that broke is run again."""
    job = f"{demo.use_case.name}_retrain"
    with demo.stage("sensor and retraining (daemon)", 1):
        if demo.has_run("retrain"):
            return
        broken = demo.instance.get_runs(dg.RunsFilter(job_name=job, statuses=BROKEN), limit=1)
        if broken:
            tags = {name: value for name, value in broken[0].tags.items() if name.startswith("shadow/")}
            run_job(demo.job("retrain"), demo.instance, run_config=broken[0].run_config, tags=tags)
            return
        log = demo.platform.layout.dagster / "daemon.log"
        command = [sys.executable, "-m", "dagster._daemon", "run", "-m", "shadow_platform.definitions"]
        with log.open("ab") as out:
            daemon = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            _wait_for_run(demo.instance, job, log)
        finally:
            _stop_group(daemon)


def _wait_for_run(instance: dg.DagsterInstance, job: str, log: Path) -> None:
    deadline = time.monotonic() + DAEMON_TIMEOUT_S
    while time.monotonic() < deadline:
        runs = instance.get_runs(dg.RunsFilter(job_name=job), limit=1)
        if runs and runs[0].status == dg.DagsterRunStatus.SUCCESS:
            return
        if runs and runs[0].status in BROKEN:
            raise ShadowPlatformError(
                f"{job} ended {runs[0].status.value}; look at run {runs[0].run_id} in `shadow ui`"
            )
        time.sleep(1)
    raise ShadowPlatformError(f"the sensor started no finished {job} within {DAEMON_TIMEOUT_S} s; see {log}")


def _stop_group(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for_champion(demo: Demo, url: str) -> None:
    manifest = read_manifest(demo.platform.layout.manifest(demo.use_case.name))
    expected = manifest.champion.version if manifest else None
    deadline = time.monotonic() + FOLLOW_TIMEOUT_S
    while time.monotonic() < deadline:
        if _told(f"{url}/model")["champion"]["version"] == expected:
            return
        time.sleep(0.2)
    raise ShadowPlatformError(
        f"the service at {url} does not answer with version {expected} after {FOLLOW_TIMEOUT_S} s"
    )
