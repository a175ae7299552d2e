"""A newcomer's machine: an empty virtual environment with the platform installed, in which commands run as printed.

Belongs here: the environment. Does not belong here: assertions. Downstream: tests of ``new-use-case`` and the tutorial.

Its dependencies are those of the running interpreter, and the platform is this checkout, named by a path file: packages
that a test installs go into the new environment alone, without a network.
"""

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from shadow_platform_tests import processes
from shadow_platform_tests.sources import REPOSITORY

TIMEOUT_S = 900
COMMANDS = {
    "shadow": "from shadow_platform.cli import app as main",
    "pytest": "from pytest import main",
    "pip": "from pip._internal.cli.main import main",
    "feast": "from feast.cli.cli import cli as main",
}
# pip reads its options from the environment: so commands run exactly as they are printed.
WITHOUT_NETWORK = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # the variable of a negative option says whether what it negates happens
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
FORGOTTEN = ("SHADOW", "PYTHON", "FEAST", "BENTOML", "MLFLOW", "DAGSTER")


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A virtual environment, and the folder in which its owner works."""

    venv: Path
    folder: Path

    def run(self, script: str, folder: Path | None = None) -> str:
        """What a shell script printed; fails with it when a command fails or time runs out."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FORGOTTEN)}
        path = os.pathsep.join((str(self.venv / "bin"), os.environ["PATH"]))
        environment = {**kept, **WITHOUT_NETWORK, "PATH": path, "VIRTUAL_ENV": str(self.venv)}
        command = ["bash", "-euo", "pipefail", "-c", script]
        started = processes.start(command, self.venv / "output.txt", environment, folder or self.folder)
        try:
            status = started.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{script}: not within {TIMEOUT_S} s\n{started.text()[-4000:]}") from None
        finally:
            started.stop()
        assert status == 0, f"{script}: exit code {status}\n{started.text()[-4000:]}"
        return started.text()


def newcomer(folder: Path) -> Newcomer:
    """A new environment below a folder."""
    venv, work = folder / "venv", folder / "work"
    work.mkdir(parents=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    site = next((venv / "lib").glob("python*/site-packages"))
    (site / "platform.pth").write_text(f"{REPOSITORY}\n{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    for name, statement in COMMANDS.items():
        command = venv / "bin" / name
        command.write_text(f"#!{venv}/bin/python\nimport sys\n{statement}\nsys.exit(main())\n", encoding="utf-8")
        command.chmod(0o755)
    return Newcomer(venv, work)
