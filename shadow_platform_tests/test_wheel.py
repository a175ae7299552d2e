"""A wheel built from the tree brings everything the command needs, and nothing that is only for developers."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from shadow_platform_tests.sources import REPOSITORY, tracked_files

SHIPPED_DATA = (".sql", ".yaml", ".jinja")


def _run(command: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    for path in tracked_files():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / path, tree / path)
    built = _run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tree / "dist"], tree)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "is absent from the `packages` configuration" not in built.stdout + built.stderr
    return next((tree / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; its dependencies are those of the running one."""
    venv = tmp_path_factory.mktemp("venv")
    assert _run([sys.executable, "-m", "venv", "--without-pip", venv], venv).returncode == 0
    python = venv / "bin" / "python"
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        wheel,
    ]
    outcome = _run(pip, venv)
    assert outcome.returncode == 0, outcome.stderr
    site = next((venv / "lib").glob("python*/site-packages"))
    # A plain path line: the editable install over there is not followed, so the wheel is what gets imported.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv


def test_the_wheel_holds_every_module_and_data_file_of_its_packages(wheel: Path) -> None:
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    expected = {
        str(path)
        for path in tracked_files()
        if path.parts[0] in {"shadow_platform", "bento", "feature_repo"} and path.suffix in {".py", *SHIPPED_DATA}
    }
    assert shipped == expected


def test_the_command_answers_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    result = _run([installed / "bin" / "shadow", "--help"], tmp_path)

    assert result.returncode == 0, result.stderr
    assert "demo" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_what_runs_is_the_wheel_and_its_data_can_be_read(installed: Path, tmp_path: Path) -> None:
    script = (
        "import shadow_platform, feature_repo, bento; from importlib.resources import files\n"
        "print(shadow_platform.__file__)\n"
        "for package, name in [('shadow_platform', 'dagster.yaml'), ('feature_repo', 'feature_store.yaml'),"
        " ('bento', 'bentofile.yaml')]:\n    assert (files(package) / name).read_text(), name\n"
    )

    result = _run([installed / "bin" / "python", "-c", script], tmp_path)

    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()).is_relative_to(installed)


def test_a_command_without_data_says_what_to_do_and_exits_2(installed: Path, tmp_path: Path) -> None:
    result = _run([installed / "bin" / "shadow", "sql", "SELECT 1"], tmp_path)

    assert result.returncode == 2
    assert "run `shadow demo`" in result.stderr
    assert "Traceback" not in result.stderr
