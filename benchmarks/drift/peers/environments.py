"""An environment of its own for each peer, and its judge run there; one that does not install says why.

Belongs here: installing (``uv``, below a folder that is kept between runs) and running. Does not belong here: how a
peer judges (``judge_*``). Upstream: the package index as configured. Downstream: ``compared``, ``estimation``.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
QUIET = {
    "OMP_NUM_THREADS": "1",
    "DO_NOT_TRACK": "1",
    "NML_DISABLE_USAGE_LOGGING": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
PEERS = {
    "rules by hand": "seed",
    "Evidently 0.7.23": "evidently",
    "nannyml 0.13.1": "nannyml",
    "alibi-detect 0.13.0": "alibi_detect",
    "frouros 0.9.0": "frouros",
}


class PeerError(Exception):
    """A peer that cannot take part, and why."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Of each of a peer's rules, which windows fail by it; and what judging them cost."""

    fails: dict[str, list[bool]]
    cpu_s: float


def installed(peer: str, home: Path) -> Path:
    """Interpreter of the peer's environment, made if it is not there; raises ``PeerError``."""
    requirements = HERE / f"{peer}.txt"
    if not requirements.exists():
        return Path(sys.executable)
    folder, wanted = home / peer, requirements.read_text(encoding="utf-8")
    marker, interpreter = folder / "installed", folder / "bin" / "python"
    if marker.exists() and marker.read_text(encoding="utf-8") == wanted:
        return interpreter
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise PeerError("uv is not installed; install it (pip install uv)")
    print(f"  installing {peer} below {folder}", flush=True)
    _run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)])
    _run([uv, "pip", "install", "-q", "--python", str(interpreter), "-r", str(requirements)])
    marker.write_text(wanted, encoding="utf-8")
    return interpreter


def answers(peer: str, home: Path, windows: Path) -> Answers:
    """A peer's answers on the pairs of files below a folder; raises ``PeerError``."""
    found = run_there(peer, home, f"judge_{peer}", [str(windows)])
    return Answers({str(rule): list(hits) for rule, hits in found["fails"].items()}, float(found["cpu_s"]))


def run_there(peer: str, home: Path, module: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Last line that a module of this package prints in the peer's environment, as JSON; raises ``PeerError``."""
    command = [str(installed(peer, home)), "-m", f"benchmarks.drift.peers.{module}", *arguments]
    return dict(json.loads(_run(command).strip().splitlines()[-1]))


def _run(command: Sequence[str]) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | QUIET
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if done.returncode:
        raise PeerError(f"{' '.join(command[:5])}: {done.stderr.strip()[-500:]}")
    return done.stdout
