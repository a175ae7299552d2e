"""The shadow worker: keeps one lane a challenger, as the deployment manifest says, beside the callers' path.

Run as ``python -m bento.shadow``; with ``--replay VERSION`` it scores a past period instead and ends, with ``--a-a
VERSION`` it asks a model its own newest answers again and prints both. Belongs here: following the manifest. Does not
belong here: what a comparison is (``domain.shadow``), following the log (``bento.shadowing.lane``), scoring
(``bento.shadowing.scoring``), summaries. Upstream: manifest. Downstream: lanes, one process each for the challenger's
model.

A challenger that hangs, leaks or crashes takes its own process with it and no more: never another challenger, and never
a caller, since the worker runs at lower priority and touches nothing that an answer waits for.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import orjson

from bento.answering.models import ManifestFile
from bento.orphan import is_orphan
from bento.package import seed_from_package, with_packaged_use_case
from bento.shadowing.a_a import shadow_itself
from bento.shadowing.lane import GRACE, LANDED_GRACE, Lane
from bento.shadowing.lane_progress import left_behind
from bento.shadowing.replay import ReplayProgress, replay
from bento.shadowing.shadow_metrics import DIRECTORY_VARIABLE, ShadowMetrics, forget_dead_processes
from bento.shadowing.shadow_spans import ShadowSpans
from bento.stopping import StopEvent
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import RegistryError, ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import Settings, load_settings
from shadow_platform.telemetry.logs import configure_logging, fail
from shadow_platform.telemetry.spans import open_spans
from shadow_platform.use_cases import load_use_case

LOGGER = logging.getLogger("shadow_platform.shadow")

MANIFEST_S = 0.2
RETRY_S = 1.0
END_S = 2.0
NICENESS = 10
REPLAY_NICENESS = 15

LaneOf = Callable[[DeployedModel], Lane]


class ShadowWorker:
    """Keeps one lane a challenger; zero, one or several.

    Args:
        lane_of: makes a lane; default: with the default policies.
    """

    def __init__(self, layout: Layout, use_case: str, metrics: ShadowMetrics, lane_of: LaneOf | None = None) -> None:
        self._layout = layout
        self._use_case = use_case
        self._metrics = metrics
        self._lane_of = lane_of or (lambda deployed: Lane(layout, use_case, deployed, metrics))
        self._file = ManifestFile(layout.manifest(use_case))
        self._lanes: dict[tuple[str, datetime], Lane] = {}
        self._retired: list[Lane] | None = None
        self._stopped = StopEvent()

    def run(self) -> None:
        """Follow the manifest until stopped, or until the supervisor is gone."""
        while not self._stopped.wait(MANIFEST_S):
            try:
                manifest = self._file.changed()
            except ShadowPlatformError as error:
                LOGGER.error("%s", error)
                self._stopped.wait(RETRY_S)
                continue
            if manifest is not None:
                self._follow(manifest)
            self._retired = [lane for lane in self._retired or [] if lane.is_alive]
            for lane in self._lanes.values():
                lane.report()
            if is_orphan(None, generation=1):
                break
        lanes = [*self._lanes.values(), *(self._retired or [])]
        for lane in lanes:
            lane.stop()
        for lane in lanes:
            lane.join(END_S)

    def stop(self) -> None:
        """End after the batches under way."""
        self._stopped.set()

    def _follow(self, manifest: DeploymentManifest) -> None:
        wanted = {(model.version, model.since): model for model in manifest.challengers}
        retired = self._finish_left_behind(manifest) if self._retired is None else self._retired
        for key in self._lanes.keys() - wanted.keys():
            lane = self._lanes.pop(key)
            # Not the time of the swap alone: the lane has compared later lines of one worker, so of all workers.
            lane.retire(max(manifest.written_at, datetime.now(UTC)))
            retired.append(lane)
            self._metrics.forget(key[0])
        self._retired = retired
        for key, model in wanted.items():
            if key in self._lanes:
                self._lanes[key].update(model)
                continue
            lane = self._lanes[key] = self._lane_of(model)
            lane.start()
            LOGGER.info("challenger %s is in the shadow", model.version)

    def _finish_left_behind(self, manifest: DeploymentManifest) -> list[Lane]:
        """Lanes of challengers that left the shadow while no worker ran: they compare what they were still due."""
        deployed = {model.version: model.since for model in manifest.challengers}
        lanes = []
        for progress in left_behind(self._layout, self._use_case):
            again_since = deployed.get(progress.deployed.version)
            if again_since != progress.deployed.since:
                lane = self._lane_of(progress.deployed)
                lane.retire(progress.until or again_since or manifest.written_at)
                lane.start()
                lanes.append(lane)
        return lanes


def lower_priority(niceness: int) -> None:
    """Let callers go first; Linux weighs sessions before processes, hence the second step."""
    os.nice(niceness)
    if os.getsid(0) == os.getpid():
        try:
            Path("/proc/self/autogroup").write_text(str(niceness))
        except OSError:
            LOGGER.debug("this system has no autogroups")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bento.shadow", description=__doc__.splitlines()[0])
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--replay", metavar="VERSION", help="score a past period with this version, and end")
    instead.add_argument("--a-a", metavar="VERSION", help="ask this version its newest answers again, and end")
    parser.add_argument("--requests", metavar="N", type=int, default=1000, help="answers that an A/A run asks again")
    parser.add_argument("--bundle", metavar="HASH", help="bundle of the version; a replay takes the deployed one")
    parser.add_argument("--since", type=datetime.fromisoformat, help="first request time of the replay")
    parser.add_argument("--until", type=datetime.fromisoformat, help="end of the replay (exclusive)")
    parser.add_argument("--progress", action="store_true", help="say on stderr how far it is, one JSON object a line")
    options = parser.parse_args(arguments)
    if options.a_a and not options.bundle:
        parser.error("--a-a needs --bundle")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the worker, one replay or one A/A run; returns the exit code."""
    options = _options(arguments)
    try:
        settings = with_packaged_use_case(load_settings())
        use_case = load_use_case(settings.shadow_use_case).name
        configure_logging(settings, "shadow", use_case)
        seed_from_package(settings.layout)
        lower_priority(REPLAY_NICENESS if options.replay or options.a_a else NICENESS)
        if options.replay:
            print(_replay(settings, use_case, options))
        elif options.a_a:
            run = shadow_itself(settings.layout, use_case, options.a_a, options.bundle, options.requests)
            print(run.model_dump_json())
        else:
            _work(settings, use_case)
    except ShadowPlatformError as error:
        fail(LOGGER, error)
        return 1
    return 0


def _work(settings: Settings, use_case: str) -> None:
    from shadow_platform.adapters.exposition import metrics_served

    forget_dead_processes()
    metrics, grace = ShadowMetrics(), LANDED_GRACE if settings.log_transport == "kafka" else GRACE
    layout = settings.layout
    sink = open_spans(settings, "shadow", use_case)
    spans = ShadowSpans(sink, settings.otel_traces_sampler_arg, use_case) if sink else None

    def lane_of(model: DeployedModel) -> Lane:
        return Lane(layout, use_case, model, metrics, grace=grace, spans=spans)

    worker = ShadowWorker(layout, use_case, metrics, lane_of)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    # Beside a service, the service exposes what this process counts; where it runs alone, it does so itself.
    port = None if DIRECTORY_VARIABLE in os.environ else settings.metrics_port
    with metrics_served(port, settings.metrics_host):
        worker.run()
    if spans:
        spans.close()


def _replay(settings: Settings, use_case: str, options: argparse.Namespace) -> str:
    challenger = _version(settings.layout, use_case, options.replay, options.bundle)
    since, until = (at and (at if at.tzinfo else at.replace(tzinfo=UTC)) for at in (options.since, options.until))
    report = _print_progress if options.progress else None
    return orjson.dumps(asdict(replay(settings.layout, use_case, challenger, since, until, report))).decode()


def _version(layout: Layout, use_case: str, version: str, bundle_hash: str | None) -> DeployedModel:
    if bundle_hash is not None:
        now = datetime.now(UTC)
        return DeployedModel(version=version, bundle_hash=bundle_hash, model_name="", since=now)
    manifest = read_manifest(layout.manifest(use_case))
    known = {model.version: model for model in manifest.challengers} if manifest else {}
    if version not in known:
        raise RegistryError(
            f"version {version} is no challenger of {use_case}; deployed: {', '.join(known) or 'none'}; "
            "`shadow replay` fetches any registered version"
        )
    return known[version]


def _print_progress(progress: ReplayProgress) -> None:
    print(orjson.dumps(asdict(progress)).decode(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
