"""What being observed costs the service: answers a second and CPU time an answer, contenders alternating in one run.

``python -m benchmarks.observability [--without REVISION] [--rounds N] [--seconds S]``. Contenders: the code of an older
revision, which knows no spans and no access log (asked for with ``--without``); everything off, as it is by default;
JSON lines; the access log; tracing a tenth of the requests, and all. Belongs here: starting them and dividing. Does not
belong here: load (``benchmarks.serving.load``). Upstream: the service as users start it. Downstream:
docs/observability.md.

Answers a second say little on a machine that does other things as well; the worker's own CPU time does.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.serving.load import WARM_UP_S, closed_loop, write_script
from benchmarks.serving.models import REQUEST, train, write_bodies
from benchmarks.serving.platform import ADDRESSES, N_BODIES, write_deployment
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.otlp import collecting

REPOSITORY = Path(__file__).parents[1]
SERVE = """
import json, sys
from bento.serve import free_port, running_service
from shadow_platform.settings import Settings
settings = Settings(_env_file=None, **json.loads(sys.argv[1]))
with running_service(settings, sys.argv[2], free_port(), shadow=False, guard=False) as service:
    print(service.url, service.worker_pids[0], flush=True)
    sys.stdin.read()
"""
OFF = "off (default)"


@dataclass
class Observed:
    """One running worker, and what each round measured: answers a second, CPU microseconds an answer."""

    name: str
    url: str
    pid: int
    per_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def load(self, script: Path, seconds: int) -> None:
        """Load it once."""
        before = _cpu_s(self.pid)
        run = closed_loop(f"{self.url}/predict", script, seconds)
        self.per_s.append(run.per_s)
        self.cpu_us.append((_cpu_s(self.pid) - before) / run.n * 1e6)


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@contextmanager
def serving(name: str, home: Path, code: Path, settings: dict[str, Any]) -> Iterator[Observed]:
    """A worker of some revision's code."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(code), str(REPOSITORY)]), "OMP_NUM_THREADS": "1"}
    told = json.dumps({"shadow_home": str(home), **settings})
    command = [sys.executable, "-c", SERVE, told, ADDRESSES[REQUEST.name]]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=code
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url, pid = process.stdout.readline().split()
            yield Observed(name, url, int(pid))
        finally:
            process.stdin.close()
            process.wait()


def code_of(revision: str, folder: Path) -> Path:
    """The tree of a revision, unpacked below a folder."""
    archive = subprocess.run(["git", "archive", revision], cwd=REPOSITORY, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def homes(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """A home with the same model for each contender."""
    bundles = train(folder, folder / "bundles", REQUEST)
    made = {name: folder / f"home-{place}" for place, name in enumerate(names)}
    for home in made.values():
        layout = Layout(home)
        shutil.copytree(folder / "bundles", layout.bundles)
        write_deployment(layout, REQUEST, bundles.champion, (), datetime.now(UTC))
    return made


def measure(without: str | None, rounds: int, seconds: int) -> None:
    """Measure and print."""
    with TemporaryDirectory(prefix="observability-") as name, ExitStack() as stack:
        folder = Path(name)
        collector = stack.enter_context(collecting())
        traced = {"otel_exporter_otlp_endpoint": collector.url}
        changes: dict[str, dict[str, Any]] = {
            **({f"code of {without}": {}} if without else {}),
            OFF: {},
            "JSON lines": {"log_format": "json"},
            "access log, JSON lines": {"log_format": "json", "log_level": "DEBUG"},
            "10 % traced": {**traced, "otel_traces_sampler_arg": 0.1},
            "100 % traced": {**traced, "otel_traces_sampler_arg": 1.0},
        }
        made = homes(folder, list(changes))
        script = write_script(write_bodies(folder, None, N_BODIES))
        older = code_of(without, folder / "code") if without else REPOSITORY
        contenders = [
            stack.enter_context(serving(n, made[n], older if n.startswith("code of") else REPOSITORY, settings))
            for n, settings in changes.items()
        ]
        for round_no in range(rounds + 1):
            for contender in contenders:
                contender.load(script, seconds if round_no else WARM_UP_S)
        _report(contenders)


def _report(contenders: Sequence[Observed]) -> None:
    reference = next(c for c in contenders if c.name == OFF)
    print(f"{'contender':26} {'answers/s':>10} {'CPU us/answer':>14} {'against off':>12}")
    for c in contenders:
        # The first round warms up. Ratios of the same round, since the machine changes between rounds.
        ratios = [own / off for own, off in zip(c.cpu_us[1:], reference.cpu_us[1:], strict=True)]
        per_s, cpu_us = statistics.median(c.per_s[1:]), statistics.median(c.cpu_us[1:])
        print(f"{c.name:26} {per_s:10,.0f} {cpu_us:14.1f} {statistics.median(ratios):12.3f}")


def main() -> int:
    """Read the options and measure; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--without", metavar="REVISION", help="also measure the code of this older revision")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print("install wrk first: apt-get install wrk")
        return 2
    measure(options.without, options.rounds, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
