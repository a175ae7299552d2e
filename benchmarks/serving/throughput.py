"""Requests and rows a second of one worker in a closed loop, against peers, the floor, and foreign frameworks.

Belongs here: which contenders meet, and the targets. Does not belong here: starting or loading them. Upstream:
``platform``, ``peers``, ``foreign``, ``load``. Downstream: ``report``.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.serving.foreign.environments import (
    FOREIGN,
    Foreign,
    ForeignError,
    install,
    installed_version,
    running_foreign,
    write_encoded_bodies,
)
from benchmarks.serving.load import Contender, Run, alternate, write_script
from benchmarks.serving.models import ONLINE, REQUEST, write_bodies
from benchmarks.serving.peers import Peer, running_peer
from benchmarks.serving.platform import Platform, running_platform
from benchmarks.serving.report import Effort, Ratio, Report, Spread

ON, OFF = "platform, log on, shadow busy", "platform, log on, no challenger"
ZIPF, UNIFORM, CACHED = "platform, online store, few ask most", "platform, online store, all alike", "the same, cached"
ONNX, SKLEARN, FEAST = "FastAPI + ONNX", "FastAPI + scikit-learn", "FastAPI + ONNX + Feast SDK"
FLOOR = "bare Starlette, a constant"
BATCH, ONE, MANY, LIST = (
    "platform, 1,000 rows a call",
    "platform, 1 row a call",
    "the same, 16 callers",
    "FastAPI, list of 1,000",
)
ONLINE_BATCH = "platform, online store, 1,000 rows a call"
BATCH_ROWS = 1_000
CACHE_S = 10.0
N_BODIES = 2_000

Runs = Mapping[str, Sequence[Run]]


def request_features(folder: Path, effort: Effort, report: Report) -> None:
    """Features in the request."""
    with ExitStack() as stack:
        platform = stack.enter_context(running_platform(folder, REQUEST))
        challenger = platform.bundles.challenger
        contenders = [platform.contender(ON, "request", [challenger])]
        contenders += [_peer(stack, folder, ONNX, "onnx"), _peer(stack, folder, FLOOR, "constant")]
        contenders += [platform.contender(OFF, "request", []), _peer(stack, folder, SKLEARN, "sklearn")]
        runs = alternate(contenders, effort.seconds, effort.rounds)
    part = "features in the request"
    _keep(report, part, runs)
    _compare(report, part, runs, ON, ONNX, 1.1)
    _compare(report, part, runs, ON, SKLEARN, 10.0)
    _compare(report, part, runs, ON, FLOOR, 0.6, is_aim=True)
    _compare(report, part, runs, ON, OFF)


def online_features(folder: Path, effort: Effort, report: Report) -> None:
    """All features but the key from two views of the online store."""
    with ExitStack() as stack:
        platform = stack.enter_context(running_platform(folder, ONLINE, effort.n_entities))
        on = [platform.bundles.challenger]
        bodies = write_bodies(folder, None, N_BODIES)
        contenders = [
            platform.contender(ZIPF, "zipf", on),
            _peer(stack, folder, ONNX, "onnx", bodies),
            platform.contender(UNIFORM, "uniform", on),
            _peer(stack, folder, FEAST, "feast", platform.bodies["zipf"]),
        ]
        cached = stack.enter_context(
            running_platform(folder / "cached", ONLINE, effort.n_entities, online_cache_seconds=CACHE_S)
        )
        contenders.append(cached.contender(f"{CACHED} {CACHE_S:.0f} s", "zipf", on))
        runs = alternate(contenders, effort.seconds, effort.rounds)
    part = "features from the online store"
    _keep(report, part, runs)
    for name in (ZIPF, UNIFORM):
        _compare(report, part, runs, name, ONNX, 0.9)
        _compare(report, part, runs, name, FEAST, 2.5)


def foreign_frameworks(folder: Path, effort: Effort, report: Report, peers_home: Path) -> None:
    """Each foreign framework in turn with the platform; one that cannot take part is reported with the reason."""
    part = "foreign frameworks, encoded rows, neither log nor shadow"
    with running_platform(folder, REQUEST) as platform:
        for foreign in FOREIGN:
            ours = replace(
                platform.contender(ON, "request", [platform.bundles.challenger]), name=f"{ON} / {foreign.name}"
            )
            try:
                runs = _against(foreign, ours, folder, effort, report, peers_home)
            except ForeignError as error:
                report.note(f"{foreign.name} took no part: {error}")
                continue
            _keep(report, part, runs)
            _compare(report, part, runs, ours.name, foreign.name)


def batches(folder: Path, effort: Effort, report: Report) -> None:
    """A thousand rows in one call, against as many calls, and FastAPI with a list."""
    part = "batch, rows"
    with ExitStack() as stack:
        platform = stack.enter_context(running_platform(folder / "request", REQUEST))
        online = stack.enter_context(running_platform(folder / "online", ONLINE, effort.n_entities))
        peer = stack.enter_context(running_peer("onnx", folder / "request"))
        lists = _batched(platform.bodies["request"])
        contenders = [
            _batch_of(platform, BATCH, lists),
            replace(platform.contender(ONE, "request", [platform.bundles.challenger]), connections=1),
            platform.contender(MANY, "request", [platform.bundles.challenger]),
            Contender(LIST, f"{peer}/predict/batch", lists, BATCH_ROWS, connections=1),
            _batch_of(online, ONLINE_BATCH, _batched(online.bodies["uniform"])),
        ]
        runs = alternate(contenders, effort.seconds, effort.rounds)
    rows = {contender.name: contender.rows for contender in contenders}
    scaled = {name: [replace(run, per_s=run.per_s * rows[name]) for run in found] for name, found in runs.items()}
    _keep(report, part, scaled)
    for other in (ONE, MANY, LIST, ONLINE_BATCH):
        _compare(report, part, scaled, BATCH, other)


def _against(
    foreign: Foreign, ours: Contender, folder: Path, effort: Effort, report: Report, peers_home: Path
) -> dict[str, list[Run]]:
    binaries = install(foreign, peers_home)
    report.note(f"{foreign.name} {installed_version(foreign, binaries)}")
    script = write_script(write_encoded_bodies(foreign, folder))
    with running_foreign(foreign, binaries, folder) as url:
        return alternate([ours, Contender(foreign.name, url, script)], effort.seconds, effort.rounds)


def _peer(stack: ExitStack, folder: Path, name: str, peer: Peer, bodies: Path | None = None) -> Contender:
    url = stack.enter_context(running_peer(peer, folder))
    return Contender(name, f"{url}/predict", write_script(bodies or folder / "bodies.jsonl"))


def _batch_of(platform: Platform, name: str, script: Path) -> Contender:
    ours = platform.contender(name, next(iter(platform.bodies)), [platform.bundles.challenger])
    return replace(ours, url=f"{platform.url}/batch", script=script, rows=BATCH_ROWS, connections=1)


def _batched(bodies: Path) -> Path:
    """Script that sends lists of ``BATCH_ROWS`` of the requests."""
    lines = bodies.read_text(encoding="utf-8").splitlines()
    batched = bodies.with_name("batches.jsonl")
    with batched.open("w", encoding="utf-8") as file:
        for first in range(0, len(lines) - BATCH_ROWS + 1, BATCH_ROWS):
            file.write(json.dumps([json.loads(line) for line in lines[first : first + BATCH_ROWS]]) + "\n")
    return write_script(batched)


def _keep(report: Report, part: str, runs: Runs) -> None:
    for name, found in runs.items():
        figures = {
            "per s": [r.per_s for r in found],
            "p50 ms": [r.p50_ms for r in found],
            "p99 ms": [r.p99_ms for r in found],
        }
        report.add(part, name, figures)


def _compare(
    report: Report, part: str, runs: Runs, name: str, other: str, limit: float | None = None, *, is_aim: bool = False
) -> None:
    spread = Spread.of_ratios([run.per_s for run in runs[name]], [run.per_s for run in runs[other]])
    report.ratios.append(Ratio(f"{part}: {name} / {other}", spread, ">=", limit, is_aim))
