"""The search for secrets: what it finds, what it was told to leave, and that nothing new came in.

Belongs here: detect-secrets and its baseline, as `make security` runs it. Does not belong here: the audit of packages,
which asks the package index. The whole repository takes a minute: here are the files that secrets get into, of
settings, deployment and documents.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shadow_platform_tests.sources import REPOSITORY, tracked_files

BASELINE = Path(".secrets.baseline")
HOOK = Path(sys.executable).parent / "detect-secrets-hook"
LIKELY = (
    ".ci/",
    ".env",
    ".github/",
    "deploy/",
    "docs/",
    "shadow_platform/settings.py",
    "shadow_platform_tests/deploy/",
)
PLANTED = {
    "cloud.env": "AWS_SECRET_ACCESS_KEY=" + "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYzzAAkKEYab12",
    "url.yaml": "redis: rediss://shadow:" + "Zk3nQ8vT1x" + "@cache.example.com:6380",
    "key.pem": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "token.txt": "ghp_" + "16C7e42F292c69" + "12E7710c838347Ae178B4a",
}


def _search(copy: Path, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Search with a copy of the baseline, which the tool writes anew, with code 3, when lines have moved."""
    copy.mkdir()
    baseline = shutil.copy(REPOSITORY / BASELINE, copy)
    command = [str(HOOK), "--no-verify", "--baseline", baseline, *map(str, paths)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_secret_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(PLANTED[name] + "\n", encoding="utf-8")

    done = _search(tmp_path / "copy", tmp_path / name)

    assert done.returncode == 1
    assert f"{name}:1" in done.stdout


@pytest.mark.timeout(400)
def test_nothing_that_looks_like_a_secret_came_in(tmp_path: Path) -> None:
    paths = [path for path in tracked_files() if str(path).startswith(LIKELY) or len(path.parts) == 1]

    done = _search(tmp_path / "copy", *paths)

    assert len(paths) > 100
    assert done.returncode in {0, 3}, done.stdout


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """A repository of one file, whose secret is known, and no package to audit."""
    (tmp_path / "url.yaml").write_text(PLANTED["url.yaml"] + "\n", encoding="utf-8")
    (tmp_path / "requirements.lock").touch()
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    done = _make(tmp_path, "secrets")
    assert "url.yaml" in json.loads((tmp_path / BASELINE).read_text(encoding="utf-8"))["results"], done.stderr
    return tmp_path


def _make(folder: Path, target: str) -> subprocess.CompletedProcess[str]:
    """Make a target of the repository in another folder, with the tools that are here."""
    makefile = REPOSITORY / "Makefile"
    alone = ["--no-print-directory", "--old-file", "setup"]
    command = ["make", "--file", str(makefile), *alone, f"BIN={HOOK.parent}", target]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_line_above_a_known_secret_is_no_new_one_and_the_search_writes_nothing(known: Path) -> None:
    before = (known / BASELINE).read_bytes()
    (known / "url.yaml").write_text(f"# a line\n{PLANTED['url.yaml']}\n", encoding="utf-8")

    done = _make(known, "security")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == ["security: secrets", "security: locked packages"]
    assert (known / BASELINE).read_bytes() == before


def test_the_make_target_names_a_new_secret_in_any_file_and_fails(known: Path) -> None:
    (known / "token.txt").write_text(PLANTED["token.txt"] + "\n", encoding="utf-8")

    done = _make(known, "security")

    assert done.returncode != 0
    assert "token.txt:1" in done.stdout
    assert "url.yaml" not in done.stdout


def test_the_make_target_audits_the_lock() -> None:
    recipe = re.search(r"^security:.*\n((?:\t.*\n)+)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)

    assert recipe is not None
    assert "pip-audit --require-hashes --disable-pip --requirement requirements.lock" in recipe[1]


def test_what_was_left_is_examples_and_tests_still_there() -> None:
    known = json.loads((REPOSITORY / BASELINE).read_text(encoding="utf-8"))["results"]
    allowed = {
        ".env.example",
        ".github",
        "docs",
        "deploy",
        "shadow_platform",
        "shadow_platform_tests",
        "benchmarks",
        "README.md",
    }

    assert all(Path(name).parts[0] in allowed and (REPOSITORY / name).exists() for name in known)
