"""What an archive holds of a home in use, and in which order."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from shadow_platform.adapters.backup import check, restore, write, writing
from shadow_platform.contracts.errors import BackupError
from shadow_platform_tests.adapters.backup.homes import (
    DATABASES,
    archive_of,
    contents,
    expected,
    held,
    make_home,
    numbers,
)

PREDICTIONS = "log/predictions/use_case=shop/dt=2024-01-02/hour=00/1-b.jsonl"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "home")


def test_a_home_comes_back_as_it_was(home: Path, tmp_path: Path) -> None:
    archive_of(home, tmp_path / "a.tar")
    restore(tmp_path / "a.tar", tmp_path / "back")

    back = tmp_path / "back"
    databases = {name: numbers(back / name) for name in DATABASES}
    told, was = contents(back), expected(home)
    assert databases == {name: list(range(100)) for name in DATABASES}
    assert {name: told[name] for name in told if name not in DATABASES} == {
        name: was[name] for name in was if name not in DATABASES
    }
    raw = "raw/shop/visits/dt=2024-01-01/events.jsonl"
    assert (back / raw).stat().st_mtime_ns == (home / raw).stat().st_mtime_ns
    assert (back / "warehouse.duckdb").stat().st_mode & 0o777 == 0o444
    assert (tmp_path / "a.tar").stat().st_mode & 0o777 == 0o600


def test_what_points_is_copied_before_what_it_points_to(home: Path, tmp_path: Path) -> None:
    entries = [entry.path for entry in archive_of(home, tmp_path / "a.tar").contents.entries]

    order = [
        "dagster/schedules/schedules.db",  # a cursor before the runs it asked for
        "dagster/history/runs.db",
        "tables/labels/use_case=shop/dt=2024-01-01/data.parquet",  # tables before what they are made of
        "serving/shop.idempotency.db",  # a keyed answer before its line
        "log/shadow/use_case=shop/challenger=2/dt=2024-01-01/hour=00/1-a.jsonl",  # comparisons before predictions
        "log/predictions/use_case=shop/dt=2024-01-01/hour=00/1-a.jsonl",
        "serving/shop.json",  # versions in tables and logs before the registry, a manifest before its bundles
        "mlflow/mlflow.db",
        "bundles/abc/model.onnx",
        "mlflow/artifacts/1/model.skops",
        "lake/features/shop/view/dt=2024-01-01/record.json",  # a record before its partition
        "lake/features/shop/view/dt=2024-01-01/data.parquet",
        "feast/online.db",  # rows online behind the record of what was brought online
        "raw/shop/visits/dt=2024-01-01/events.jsonl",
    ]
    assert [path for path in entries if path in order] == order
    assert len(entries) == len(set(entries))


def test_deployments_are_held_while_what_must_agree_is_copied(home: Path, tmp_path: Path) -> None:
    copied: list[str] = []

    @contextmanager
    def hold() -> Iterator[None]:
        (home / "serving" / "shop.json").write_bytes(b"held")
        yield
        (home / "serving" / "shop.json").write_bytes(b"released")
        (home / "bundles" / "of-the-next").write_bytes(b"released")
        copied.append("all")

    write(home, tmp_path / "a.tar", "1.0", hold)
    restore(tmp_path / "a.tar", tmp_path / "back")

    assert copied == ["all"]
    assert (tmp_path / "back" / "serving" / "shop.json").read_bytes() == b"held"
    assert (tmp_path / "back" / "bundles" / "of-the-next").read_bytes() == b"released"


def test_only_what_must_agree_is_copied_while_deployments_are_held(home: Path, tmp_path: Path) -> None:
    n_bytes: list[int] = []

    @contextmanager
    def hold() -> Iterator[None]:
        before = sum(n_bytes)
        yield
        n_bytes[:] = [sum(n_bytes) - before]
        n_held.extend(n_bytes)

    n_held: list[int] = []
    written = write(home, tmp_path / "a.tar", "1.0", hold, n_bytes.append)

    sizes = {entry.path: entry.n_bytes for entry in written.contents.entries}
    assert n_held == [sizes["serving/shop.json"] + sizes["serving/shop.rollout"] + sizes["mlflow/mlflow.db"]]


def test_a_version_that_is_registered_meanwhile_is_in_no_table_and_no_log_before_it_is_in_the_registry(
    home: Path, tmp_path: Path
) -> None:
    """The registry would give its number once more, and what is known of the two would stand under one version."""
    row = "tables/model_versions/use_case=shop/dt=2024-01-01/data.parquet"

    @contextmanager
    def hold() -> Iterator[None]:
        yield
        with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as registry, registry:
            registry.execute("INSERT INTO numbers VALUES (777)")
        for name in (row, PREDICTIONS):
            (home / name).parent.mkdir(parents=True)
            (home / name).write_bytes(b'{"model_version": "777"}\n')

    write(home, tmp_path / "a.tar", "1.0", hold)
    restore(tmp_path / "a.tar", tmp_path / "back")

    assert 777 not in numbers(tmp_path / "back" / "mlflow" / "mlflow.db")
    assert not (tmp_path / "back" / row).exists()
    assert not (tmp_path / "back" / PREDICTIONS).exists()


def test_a_database_that_is_held_for_good_ends_the_backup_in_time_and_not_the_other_way(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "LOCK_TIMEOUT_S", 1.0)
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        holder.execute("INSERT INTO numbers VALUES (1)")
        began = time.monotonic()
        with pytest.raises(BackupError, match=r"mlflow\.db cannot be copied .*another process has held it for 1 s"):
            archive_of(home, tmp_path / "a.tar")
        assert time.monotonic() - began < 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_database_is_copied_between_two_transactions_while_it_is_written(
    home: Path, tmp_path: Path, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each transaction writes two equal rows; a copy from within one, or of the file alone, would have an odd one."""
    monkeypatch.setattr(writing, "LOCK_TIMEOUT_S", 100.0)
    database, began, stop = home / "mlflow" / "mlflow.db", threading.Event(), threading.Event()

    def go_on() -> None:
        with closing(sqlite3.connect(database, timeout=100, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA journal_mode={journal}")
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("DELETE FROM numbers")
            n = 0
            while not stop.is_set():
                n += 1
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT INTO numbers VALUES (?)", [(n,)] * 2)
                connection.execute("COMMIT")
                if n == 10:
                    began.set()
                stop.wait(0.0005)

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        assert began.wait(100)
        for name in ("a", "b", "c"):
            archive_of(home, tmp_path / f"{name}.tar")
            restore(tmp_path / f"{name}.tar", tmp_path / name)
            found = numbers(tmp_path / name / "mlflow" / "mlflow.db")
            assert found[::2] == found[1::2] == list(range(1, len(found) // 2 + 1))
    finally:
        stop.set()
        writer.join()
    assert len(found) > 10


def test_every_line_that_was_there_when_the_backup_began_is_in_it_and_no_torn_one(home: Path, tmp_path: Path) -> None:
    segment, stop, n_before = home / PREDICTIONS, threading.Event(), 0
    segment.parent.mkdir(parents=True)

    def go_on() -> None:
        with segment.open("ab", buffering=0) as file:
            n = 0
            while not stop.is_set():
                file.write(b'{"n": %d, "pad' % n)
                file.write(b'": "%s"}\n' % (b"x" * 500))
                n += 1
                stop.wait(0.0002)

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        for name in ("a", "b", "c"):
            while segment.stat().st_size < (n_before + 50) * 520 if segment.exists() else True:
                stop.wait(0.005)
            n_before = segment.read_bytes().count(b"\n")
            archive_of(home, tmp_path / f"{name}.tar")
            restore(tmp_path / f"{name}.tar", tmp_path / name)
            copied = (tmp_path / name / PREDICTIONS).read_bytes()
            assert copied.endswith(b"\n")
            assert copied.count(b"\n") >= n_before
            assert segment.read_bytes().startswith(copied)
    finally:
        stop.set()
        writer.join()


def test_a_file_that_is_removed_while_it_is_copied_is_left_out(home: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def progressed(n_bytes: int) -> None:
        seen.append(n_bytes)
        (home / "bundles" / "abc" / "model.onnx").unlink(missing_ok=True)

    written = write(home, tmp_path / "a.tar", "1.0", held, progressed)

    assert "bundles/abc/model.onnx" not in {entry.path for entry in written.contents.entries}
    assert check(tmp_path / "a.tar") == written.contents
    assert sum(seen) == written.contents.n_bytes


def _link_a_file(home: Path) -> None:
    (home / "bundles" / "linked").symlink_to(home / "warehouse.duckdb")


def _link_a_folder(home: Path) -> None:
    (home / "reports").symlink_to(home / "bundles")


def _break_a_database(home: Path) -> None:
    (home / "mlflow" / "mlflow.db").write_bytes(b"SQLite format 3\x00" + b"\xff" * 4096)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_link_a_file, r"bundles/linked is a symbolic link, and what it points to would be missing"),
        (_link_a_folder, r"reports is a symbolic link"),
        (_break_a_database, r"mlflow\.db cannot be copied as a SQLite file"),
    ],
)
def test_what_cannot_be_copied_whole_is_refused_and_nothing_is_left(
    home: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(home)
    (tmp_path / "archives").mkdir()

    with pytest.raises(BackupError, match=message):
        archive_of(home, tmp_path / "archives" / "a.tar")
    assert list((tmp_path / "archives").iterdir()) == []


def test_copies_that_a_backup_makes_are_for_its_owner_alone(home: Path, tmp_path: Path) -> None:
    seen: set[int] = set()

    def progressed(_: int) -> None:
        seen.update(path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.name.endswith(".partial"))

    write(home, tmp_path / "a.tar", "1.0", held, progressed)

    assert seen == {0o700}


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("home/a.tar", r"lies below .* and would hold itself; name a file outside SHADOW_HOME"),
        ("nowhere/a.tar", r"folder .*nowhere does not exist; create it"),
        ("old.tar", r"old\.tar exists; name a file that does not, an archive is never overwritten"),
    ],
)
def test_an_archive_is_not_written_where_it_would_do_harm(home: Path, tmp_path: Path, place: str, message: str) -> None:
    (tmp_path / "old.tar").write_bytes(b"the only backup")

    with pytest.raises(BackupError, match=message):
        archive_of(home, tmp_path / place)
    assert (tmp_path / "old.tar").read_bytes() == b"the only backup"


def test_a_home_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"absent does not exist, so there is nothing to back up; set SHADOW_HOME"):
        archive_of(tmp_path / "absent", tmp_path / "a.tar")
