"""Serving against its peers: requests per second and latencies of one worker at 16 connections, as ratios.

``python -m benchmarks.serving``. The platform, with prediction log and shadow worker on, against (A) FastAPI and
uvicorn with the same ONNX model and neither, and (B) FastAPI with the scikit-learn pipeline of the same kind. All
features come with the request. Runs alternate, so that a busy machine disturbs all alike; each figure is the median
of its runs. Targets: at least 1.0 times A, 8 times B; p99 with the shadow worker busy at most 1.2 times p99 without.

Needs ``wrk`` (Debian, Ubuntu: ``apt-get install wrk``).
"""

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from benchmarks.serving_models import ADDRESS, BODIES_FILE, USE_CASE, train
from bento.serve import free_port, running_service
from shadow_platform.adapters.deployment import read_manifest, write_manifest
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import Settings

CONNECTIONS = 16
ON, OFF, ONNX, SKLEARN = "platform, shadow on", "platform, shadow off", "A: FastAPI + ONNX", "B: FastAPI + scikit-learn"
SCRIPT = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local place = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
  place = place %% #bodies + 1
  return wrk.format(nil, nil, nil, bodies[place])
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %%d %%d %%d %%.3f %%.3f\\n", summary.requests, summary.duration,
    e.status + e.connect + e.read + e.timeout, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""


@dataclass(frozen=True)
class Run:
    """One measurement."""

    per_s: float
    p50_ms: float
    p99_ms: float


def measure(url: str, script: Path, seconds: int) -> Run:
    """Load one URL; raises when any request failed."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+)", output)
    if found is None:
        raise RuntimeError(f"wrk printed no result:\n{output}")
    requests, microseconds, errors = (int(found.group(place)) for place in (1, 2, 3))
    if errors:
        raise RuntimeError(f"{errors} of {requests} requests to {url} failed")
    return Run(requests / microseconds * 1e6, float(found.group(4)), float(found.group(5)))


@contextmanager
def peer(model: str, folder: Path) -> Iterator[str]:
    """URL of a FastAPI application on uvicorn, one worker."""
    port = free_port()
    environment = {**os.environ, "BENCHMARK_FOLDER": str(folder), "BENCHMARK_MODEL": model, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "uvicorn", "benchmarks.serving_peers:APP", "--port", str(port)]
    command += ["--no-access-log", "--log-level", "warning"]
    url = f"http://127.0.0.1:{port}/predict"
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            try:
                httpx.get(url)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def deploy(layout: Layout, champion: str, challenger: str | None) -> None:
    """Write the next manifest, with a challenger or without."""
    path, now = layout.manifest(USE_CASE.name), datetime.now(UTC)
    current = read_manifest(path)

    def model(version: str, digest: str) -> DeployedModel:
        return DeployedModel(version=version, bundle_hash=digest, model_name="benchmark", since=now)

    manifest = DeploymentManifest(
        use_case=USE_CASE.name,
        generation=current.generation + 1 if current else 1,
        champion=model("1", champion),
        challengers=(model("2", challenger),) if challenger else (),
        written_at=now,
    )
    write_manifest(path, manifest)


def wait_compared(url: str) -> None:
    """Wait until the shadow worker has nothing left to do."""
    while any(
        entry["lag_records"] for entry in httpx.get(f"{url}/shadow/comparison", timeout=60).json()["challengers"]
    ):
        time.sleep(0.2)
    time.sleep(0.5)


def run(folder: Path, seconds: int, rounds: int) -> dict[str, list[Run]]:
    """Measurements of each contender, in turns."""
    layout = Layout(folder / "home")
    champion, challenger = train(folder, layout.bundles)
    deploy(layout, champion, challenger)
    script = folder / "load.lua"
    script.write_text(SCRIPT % (folder / BODIES_FILE), encoding="utf-8")
    settings = Settings(shadow_home=layout.home)
    runs: dict[str, list[Run]] = {name: [] for name in (ON, ONNX, OFF, SKLEARN)}
    with ExitStack() as stack:
        service = stack.enter_context(running_service(settings, ADDRESS, free_port()))
        urls = {ON: f"{service.url}/predict", OFF: f"{service.url}/predict"}
        urls |= {name: stack.enter_context(peer(kind, folder)) for name, kind in ((ONNX, "onnx"), (SKLEARN, "sklearn"))}
        for round_no in range(rounds + 1):
            for name, found in runs.items():
                if name in (ON, OFF):
                    deploy(layout, champion, challenger if name == ON else None)
                    time.sleep(2.0)
                result = measure(urls[name], script, seconds if round_no else 2)
                if round_no:
                    found.append(result)
                    print(f"  {name:26} {result.per_s:8.0f}/s  p50 {result.p50_ms:7.2f}  p99 {result.p99_ms:7.2f} ms")
                if name == ON:
                    wait_compared(service.url)
    return runs


def median(runs: list[Run], name: str) -> float:
    """Median of one figure."""
    return float(statistics.median(getattr(found, name) for found in runs))


def main() -> int:
    """Run the benchmark and print its ratios; returns 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=6, help="length of one run")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contender")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is not installed; install it (Debian, Ubuntu: apt-get install wrk) and run again")
        return 2
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        runs = run(Path(folder), options.seconds, options.rounds)
    print(f"\nmedians of {options.rounds} runs of {options.seconds} s, one worker, {CONNECTIONS} connections")
    for name, found in runs.items():
        figures = [median(found, figure) for figure in ("per_s", "p50_ms", "p99_ms")]
        print(f"  {name:26} {figures[0]:8.0f}/s  p50 {figures[1]:7.2f} ms  p99 {figures[2]:7.2f} ms")
    per_s = {name: median(found, "per_s") for name, found in runs.items()}
    targets = [
        ("requests/s, shadow on, against A", per_s[ON] / per_s[ONNX], ">=", 1.0),
        ("requests/s, shadow on, against B", per_s[ON] / per_s[SKLEARN], ">=", 8.0),
        ("p99, shadow on against off", median(runs[ON], "p99_ms") / median(runs[OFF], "p99_ms"), "<=", 1.2),
    ]
    is_met = True
    for text, ratio, sign, target in targets:
        holds = ratio >= target if sign == ">=" else ratio <= target
        is_met &= holds
        print(f"  {text:34} {ratio:6.2f}  (target {sign} {target}: {'met' if holds else 'missed'})")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
