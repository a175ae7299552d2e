"""What readers of the log files may rely on when clocks step, segments are damaged, and files go away."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.adapters import log as log_module
from shadow_platform.adapters.log import FileLogSink, FileLogSource

NOON = datetime(2024, 3, 1, 12, 0, tzinfo=UTC).timestamp()


def payloads(source: FileLogSource) -> list[Any]:
    return [json.loads(line.payload) for line in source.read({})]


def test_a_clock_that_steps_back_makes_an_hour_open_again_at_once(tmp_path: Path) -> None:
    clock = [NOON]
    sink = FileLogSink(tmp_path, clock=lambda: clock[0])
    source = FileLogSource(tmp_path, clock=lambda: clock[0])
    sink.append({"n": 0})
    clock[0] = NOON + 86400
    assert payloads(source) == [{"n": 0}]
    clock[0] = NOON + 1
    sink.append({"n": 1})
    assert payloads(source) == [{"n": 0}, {"n": 1}]


def test_a_line_that_comes_late_to_a_settled_hour_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "RELIST_S", 0.0)
    sink = FileLogSink(tmp_path, clock=lambda: NOON)
    sink.append({"n": 0})
    source = FileLogSource(tmp_path, clock=lambda: NOON + 86400)
    after: dict[str, int] = {}
    for n in range(3):
        (line,) = source.read(after)
        assert json.loads(line.payload) == {"n": n}
        after[line.offset.segment] = line.offset.end
        (sink if n else FileLogSink(tmp_path, clock=lambda: NOON)).append({"n": n + 1})


STEPS_S = st.lists(st.sampled_from([0.5, 30, 3599, 3600, 86_400, -1, -45, -3600, -86_400]), max_size=30)


@given(STEPS_S, st.data())
@settings(deadline=None)
def test_a_reader_meets_every_line_once_however_the_clock_steps(
    tmp_path_factory: pytest.TempPathFactory, steps_s: list[float], data: st.DataObject
) -> None:
    root, clock = tmp_path_factory.mktemp("clock"), [NOON]
    sinks = [FileLogSink(root, clock=lambda: clock[0]) for _ in range(2)]
    source = FileLogSource(root, clock=lambda: clock[0])
    after: dict[str, int] = {}
    met: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_module, "RELIST_S", 0.0)
        for n, step_s in enumerate(steps_s):
            clock[0] += step_s
            sinks[data.draw(st.integers(0, 1))].append({"n": n})
            if data.draw(st.booleans()) or n == len(steps_s) - 1:
                for line in source.read(after):
                    met.append(json.loads(line.payload)["n"])
                    after[line.offset.segment] = line.offset.end
    assert sorted(met) == list(range(len(steps_s)))
    for sink in sinks:
        sink.close()


def test_the_segment_of_the_last_hour_is_flushed_and_closed_by_the_next_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    flush = os.fdatasync

    def noting(descriptor: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        flush(descriptor)

    monkeypatch.setattr(os, "fdatasync", noting)
    clock = [NOON]
    sink = FileLogSink(tmp_path, clock=lambda: clock[0])
    sink.append({"n": 0})
    clock[0] += 3600
    sink.append({"n": 1})
    sink.sync()
    assert flushed == [str(tmp_path / segment) for segment, _ in FileLogSource(tmp_path).segments()]
    flushed.clear()
    sink.sync()
    assert len(flushed) == 1
    sink.close()


def _loop(segment: Path) -> None:
    segment.unlink()
    segment.symlink_to(segment)


def _folder(segment: Path) -> None:
    segment.unlink()
    segment.mkdir()


@pytest.mark.parametrize("damage", [_loop, _folder])
def test_an_unreadable_segment_is_named_once_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    for n in range(3):
        FileLogSink(tmp_path, clock=lambda: NOON).append({"n": n})
    source = FileLogSource(tmp_path)
    broken = source.segments()[1][0]
    content = (tmp_path / broken).read_bytes()
    damage(tmp_path / broken)
    for _ in range(3):
        assert [row["n"] for row in payloads(source)] == [0, 2]
        assert [json.loads(line)["n"] for line in source.tail(9)] == [0, 2]
    assert list(source.unreadable) == [broken]
    (told,) = [record for record in caplog.records if record.name == log_module.LOGGER.name]
    assert "is left out until it can" in told.getMessage()
    damaged = tmp_path / broken
    damaged.rmdir() if damaged.is_dir() else damaged.unlink()
    damaged.write_bytes(content)
    assert [row["n"] for row in payloads(source)] == [0, 1, 2]
    assert source.unreadable == {}


def test_a_segment_deleted_while_it_is_tailed_takes_no_other_line_along(tmp_path: Path) -> None:
    for n in range(3):
        FileLogSink(tmp_path, clock=lambda: NOON).append({"n": n})
    source = FileLogSource(tmp_path, clock=lambda: NOON + 86400)
    reading = source.read({})
    assert json.loads(next(reading).payload) == {"n": 0}
    (tmp_path / source.segments()[1][0]).unlink()
    assert [json.loads(line.payload)["n"] for line in reading] == [2]
    assert [row["n"] for row in payloads(source)] == [0, 2]


def test_an_empty_segment_is_no_line_and_no_problem(tmp_path: Path) -> None:
    sink = FileLogSink(tmp_path, clock=lambda: NOON)
    sink.append({"n": 0})
    (tmp_path / FileLogSource(tmp_path).segments()[0][0]).with_name("1-empty.jsonl").touch()
    source = FileLogSource(tmp_path)
    assert len(source.segments()) == 2
    assert payloads(source) == [{"n": 0}]
    assert len(source.tail(5)) == 1
    assert source.unreadable == {}


@given(st.lists(st.binary(max_size=50).map(lambda part: part.replace(b"\n", b"")), min_size=1, max_size=20))
def test_garbage_is_handed_on_line_by_line_and_never_beyond_its_own_line(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    root = tmp_path_factory.mktemp("garbage")
    sink = FileLogSink(root)
    sink.append({"n": 0})
    sink.close()
    segment = root / FileLogSource(root).segments()[0][0]
    with segment.open("ab") as file:
        file.write(b"\n".join(parts) + b"\n" + b'{"n": 1}\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_module, "READ_BYTES", 16)
        lines = [line.payload for line in FileLogSource(root).read({})]
    assert lines == [b'{"n":0}', *parts, b'{"n": 1}']


def test_a_torn_tail_is_read_again_only_when_it_grew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = FileLogSink(tmp_path)
    sink.append({"n": 0})
    source = FileLogSource(tmp_path)
    segment, end = source.segments()[0]
    with (tmp_path / segment).open("ab") as file:
        file.write(b'{"n": 1')
    assert list(source.read({segment: end})) == []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, *_args, **_options: pytest.fail(f"{path} is opened"))
        assert list(source.read({segment: end})) == []
    with (tmp_path / segment).open("ab") as file:
        file.write(b"}\n")
    assert [line.payload for line in source.read({segment: end})] == [b'{"n": 1}']
    assert payloads(source) == [{"n": 0}, {"n": 1}]
