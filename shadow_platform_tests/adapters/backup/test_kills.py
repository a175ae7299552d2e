"""A backup or a restore that dies by SIGKILL at any of its steps: whole or not there, and it can be done again."""

import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from shadow_platform.adapters.backup import check, restore
from shadow_platform.contracts.errors import BackupError, SettingsError
from shadow_platform.settings import load_settings
from shadow_platform_tests.adapters.backup.homes import archive_of, contents, make_home
from shadow_platform_tests.chaos.dying import Steps, forked

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]


def deaths(task: Callable[[], object], root: Path, folder: Path) -> Iterator[int]:
    """Numbers of the steps at which a fork that did the task was killed, until one came through."""
    for step in count(1):
        code = forked(partial(_done, task, Steps(root, step)), folder / "errors")
        if code == 0:
            return
        assert code == -signal.SIGKILL, (folder / "errors").read_text()
        yield step


def _done(task: Callable[[], object], steps: Steps) -> None:
    steps.watch()
    task()


def _small(folder: Path) -> Path:
    """A home with few files, for each file has steps and each step a death."""
    make_home(folder)
    for part in ("dagster", "feast", "lake", "raw", "tables"):
        shutil.rmtree(folder / part)
    return folder


def test_a_backup_killed_anywhere_leaves_a_whole_archive_or_none(tmp_path: Path) -> None:
    home, folder = _small(tmp_path / "home"), tmp_path / "archives"
    folder.mkdir()
    n_deaths = n_whole = 0
    for _ in deaths(lambda: archive_of(home, folder / "a.tar"), folder, tmp_path):
        n_deaths += 1
        if (folder / "a.tar").exists():
            n_whole += 1
            check(folder / "a.tar")
            (folder / "a.tar").unlink()
    check(folder / "a.tar")
    assert n_deaths > 20
    assert n_whole > 0
    assert [path.name for path in folder.iterdir()] == ["a.tar"], "the next backup clears away what was left"


def test_what_a_killed_backup_left_is_cleared_by_the_next_one_under_another_name(tmp_path: Path) -> None:
    home, folder = _small(tmp_path / "home"), tmp_path / "archives"
    folder.mkdir()
    for step in deaths(lambda: archive_of(home, folder / "monday.tar"), folder, tmp_path):
        if step == 10:
            break
    assert [path for path in folder.iterdir() if path.suffix == ".partial"]

    archive_of(home, folder / "tuesday.tar")

    assert [path.name for path in folder.iterdir()] == ["tuesday.tar"]


def test_a_restore_killed_anywhere_is_refused_until_it_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = archive_of(_small(tmp_path / "old"), tmp_path / "a.tar").path
    restore(archive, tmp_path / "good")
    good, home = contents(tmp_path / "good"), tmp_path / "home"
    monkeypatch.setenv("SHADOW_HOME", str(home))
    n_half = n_whole = 0
    for _ in deaths(lambda: restore(archive, home), home, tmp_path):
        if (home / ".restoring").exists():
            n_half += 1
            with pytest.raises(SettingsError, match=r"was restored by half only; run `shadow restore FILE` again"):
                load_settings()
            restore(archive, home)
        elif (home / "serving").exists():
            n_whole += 1
        else:
            assert not home.exists() or list(home.iterdir()) == []
            continue
        load_settings()
        assert {name: found for name, found in contents(home).items() if not name.startswith(".")} == good
        shutil.rmtree(home)
    assert n_half > 20
    assert n_whole > 0


def test_what_was_written_into_a_half_restored_home_is_not_taken_away(tmp_path: Path) -> None:
    archive = archive_of(make_home(tmp_path / "old"), tmp_path / "a.tar").path
    (tmp_path / "home" / ".restoring").mkdir(parents=True)
    (tmp_path / "home" / "log").mkdir()

    with pytest.raises(BackupError, match=r"was written to since its restore began \(log\); empty it first"):
        restore(archive, tmp_path / "home")
    assert (tmp_path / "home" / "log").is_dir()
