"""The shadow worker: scores logged predictions with every challenger of the manifest, beside the callers' path.

Run as ``python -m bento.shadow``; with ``--replay VERSION`` it scores a past period instead and ends. Belongs here:
following the log and the manifest. Does not belong here: what a comparison is (``domain.shadow``), scoring
(``bento.scoring``), summaries. Upstream: prediction log, manifest, bundles. Downstream: one shadow log a challenger.

A challenger that hangs holds up its own thread only, and never a caller: this process runs at lower priority and
touches nothing that an answer waits for.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import orjson

from bento.models import ManifestFile, load_model
from bento.offsets import advance, predictions_since, shadow_records, shadow_root
from bento.package import seed_from_package, with_packaged_use_case
from bento.replay import replay
from bento.scoring import BATCH, ExclusiveWork, Scorer, append, lag_s, sent
from bento.shadow_metrics import ShadowMetrics
from bento.worker import is_orphan
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import AlreadyRunning, RegistryError, ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.domain.serving import rfc3339
from shadow_platform.domain.shadow import ShadowPolicy
from shadow_platform.settings import Settings, load_settings
from shadow_platform.use_cases import load_use_case

LOGGER = logging.getLogger("shadow_platform.shadow")

IDLE_S = 0.05
MANIFEST_S = 0.2
RETRY_S = 1.0
NICENESS = 10


class Lane:
    """One live challenger: follows the prediction log from its deployment on, in a thread of its own."""

    def __init__(
        self, layout: Layout, use_case: str, deployed: DeployedModel, policy: ShadowPolicy, metrics: ShadowMetrics
    ) -> None:
        self.deployed = deployed
        self._metrics = metrics
        self._layout = layout
        self._use_case = use_case
        self._policy = policy
        self._since = rfc3339(deployed.since)
        self._until: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"challenger-{deployed.version}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def retire(self, at: datetime) -> None:
        """Compare what was logged until then, and end."""
        self._until = rfc3339(at)

    def stop(self) -> None:
        """End after the batch under way; the next start continues behind it."""
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end."""
        self._thread.join(timeout_s)

    @property
    def is_alive(self) -> bool:
        """Whether it still follows the log."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with ExclusiveWork(self._layout, self._use_case, self.deployed.version, "live"):
                    self._follow()
                return
            except AlreadyRunning:
                self._stop.wait(RETRY_S)
            except Exception as error:  # noqa: BLE001 - the next round starts from what the shadow log says
                LOGGER.error("challenger %s: %s; continuing in %s s", self.deployed.version, error, RETRY_S)
                self._stop.wait(RETRY_S)

    def _follow(self) -> None:
        scorer = Scorer(load_model(self._layout, self.deployed), self._policy, is_replay=False)
        root = shadow_root(self._layout, self._use_case, self.deployed.version)
        after: dict[str, int] = {}
        for record in shadow_records(FileLogSource(root), {}):
            advance(after, record)
        source = predictions_since(self._layout, self._use_case, self.deployed.since)
        sink = FileLogSink(root)
        try:
            while not self._stop.is_set():
                n_lines = self._step(source, after, scorer, sink)
                if n_lines == 0 and self._until is not None:
                    return
                if n_lines < BATCH:
                    self._stop.wait(IDLE_S)
        finally:
            sink.close()

    def _step(self, source: FileLogSource, after: dict[str, int], scorer: Scorer, sink: FileLogSink) -> int:
        """Compare one micro-batch; returns the number of lines consumed."""
        version = self.deployed.version
        lines = list(source.read(after, limit=BATCH))
        mine = [found for found in map(sent, lines) if found and self._is_mine(found[0])]
        if mine:
            append(sink, scorer.records(mine), self._metrics.count)
        self._metrics.lag(version, lag_s(mine[-1][0], datetime.now(UTC)) if mine else 0.0)
        for line in lines:
            after[line.offset.segment] = line.offset.end
        return len(lines)

    def _is_mine(self, prediction: PredictionRecord) -> bool:
        return prediction.logged_at >= self._since and (self._until is None or prediction.logged_at < self._until)


class ShadowWorker:
    """Keeps one lane a challenger, as the manifest says."""

    def __init__(
        self,
        layout: Layout,
        use_case: str,
        policy: ShadowPolicy,
        metrics: ShadowMetrics,
    ) -> None:
        self._metrics = metrics
        self._layout = layout
        self._use_case = use_case
        self._policy = policy
        self._file = ManifestFile(layout.manifest(use_case))
        self._lanes: dict[tuple[str, datetime], Lane] = {}
        self._retired: list[Lane] = []
        self._stopped = threading.Event()

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
            if is_orphan(None, generation=1):
                break
        lanes = [*self._lanes.values(), *self._retired]
        for lane in lanes:
            lane.stop()
        for lane in lanes:
            lane.join(2.0)

    def stop(self) -> None:
        """End after the batches under way."""
        self._stopped.set()

    def _follow(self, manifest: DeploymentManifest) -> None:
        wanted = {(model.version, model.since): model for model in manifest.challengers}
        for key in self._lanes.keys() - wanted.keys():
            lane = self._lanes.pop(key)
            lane.retire(manifest.written_at)
            self._retired.append(lane)
        for key in wanted.keys() - self._lanes.keys():
            lane = self._lanes[key] = Lane(self._layout, self._use_case, wanted[key], self._policy, self._metrics)
            lane.start()
            LOGGER.info("challenger %s is in the shadow", wanted[key].version)
        self._retired = [lane for lane in self._retired if lane.is_alive]


def lower_priority() -> None:
    """Let callers go first; Linux weighs sessions before processes, hence the second step."""
    os.nice(NICENESS)
    if os.getsid(0) == os.getpid():
        try:
            Path("/proc/self/autogroup").write_text(str(NICENESS))
        except OSError:
            LOGGER.debug("this system has no autogroups")


def main(arguments: list[str] | None = None) -> int:
    """Run the worker, or one replay; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bento.shadow", description=__doc__.splitlines()[0])
    parser.add_argument("--max-lag-s", type=float, help="drop predictions older than this; default: never")
    parser.add_argument("--sample-rate", type=float, default=1.0, help="share of requests scored (1.0)")
    parser.add_argument(
        "--replay", metavar="VERSION", help="score a past period with this deployed challenger, and end"
    )
    parser.add_argument("--since", type=datetime.fromisoformat, help="first request time of the replay")
    parser.add_argument("--until", type=datetime.fromisoformat, help="end of the replay (exclusive)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = with_packaged_use_case(load_settings())
        seed_from_package(settings.layout)
        logging.getLogger().setLevel(settings.log_level)
        use_case = load_use_case(settings.shadow_use_case).name
        lower_priority()
        if options.replay:
            print(_replay(settings, use_case, options.replay, options.since, options.until))
            return 0
        _work(settings, use_case, ShadowPolicy(options.max_lag_s, options.sample_rate))
    except ShadowPlatformError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _work(settings: Settings, use_case: str, policy: ShadowPolicy) -> None:
    worker = ShadowWorker(settings.layout, use_case, policy, ShadowMetrics())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    worker.run()


def _replay(settings: Settings, use_case: str, version: str, since: datetime | None, until: datetime | None) -> str:
    manifest = read_manifest(settings.layout.manifest(use_case))
    known = {model.version: model for model in manifest.challengers} if manifest else {}
    if version not in known:
        raise RegistryError(f"version {version} is no challenger of {use_case}; deployed: {', '.join(known) or 'none'}")
    utc = [at and (at if at.tzinfo else at.replace(tzinfo=UTC)) for at in (since, until)]
    return orjson.dumps(asdict(replay(settings.layout, use_case, known[version], *utc))).decode()


if __name__ == "__main__":
    sys.exit(main())
