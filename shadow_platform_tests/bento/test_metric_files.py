"""A process whose metrics files have all their blocks is not ended by a device that fills up later."""

import os
from pathlib import Path

import pytest

from bento.answering.metric_files import FOLDER_VARIABLE, reserve_metric_files


def sparse(path: Path) -> Path:
    """A file with a hole of a mebibyte."""
    with path.open("wb") as file:
        file.truncate(1 << 20)
    return path


def test_metrics_files_of_this_process_get_their_blocks_and_keep_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    own, other = (sparse(tmp_path / f"counter_{pid}.db") for pid in (os.getpid(), os.getppid()))
    with own.open("r+b") as file:
        file.write(b"counted")
    reserve_metric_files()
    assert own.stat().st_blocks * 512 >= own.stat().st_size == 1 << 20
    assert own.read_bytes().rstrip(b"\x00") == b"counted"
    assert other.stat().st_blocks * 512 < 1 << 20


def test_without_shared_metrics_there_is_nothing_to_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    reserve_metric_files()


def test_a_file_that_cannot_be_given_its_blocks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    path = tmp_path / f"counter_{os.getpid()}.db"
    path.symlink_to(path)
    reserve_metric_files()
    assert str(path) in caplog.text
    assert "free space on the device" in caplog.text
