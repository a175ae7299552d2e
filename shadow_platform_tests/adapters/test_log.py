"""What every log must do, files and memory alike; and what only files can get wrong."""

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.adapters.log import FileLogSink, FileLogSource, decode_prediction, decode_shadow
from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.records import ModelAnswer, PredictionRecord, ShadowRecord, SourceOffset
from shadow_platform_tests.adapters.test_log_tables import OLD_PREDICTIONS
from shadow_platform_tests.fakes_log import FullLog, InMemoryLog

NOON = datetime(2024, 3, 1, 12, 0, tzinfo=UTC).timestamp()
Opener = Callable[[], tuple[Any, Any]]


@pytest.fixture(params=["files", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Any]:
    if request.param == "files":
        return FileLogSink(tmp_path), FileLogSource(tmp_path)
    memory = InMemoryLog()
    return memory, memory


def payloads(source: Any, after: dict[str, int] | None = None, limit: int | None = None) -> list[Any]:
    return [json.loads(line.payload) for line in source.read(after or {}, limit)]


def test_what_was_appended_is_read_in_order(log: tuple[Any, Any]) -> None:
    sink, source = log
    sink.append({"n": 0})
    sink.append_many([{"n": 1}, {"n": 2}])
    assert payloads(source) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_an_empty_batch_appends_nothing(log: tuple[Any, Any]) -> None:
    sink, source = log
    sink.append_many([])
    assert payloads(source) == []


def test_reading_behind_any_offset_gives_exactly_the_rest(log: tuple[Any, Any]) -> None:
    sink, source = log
    sink.append_many([{"n": n, "text": "x" * n} for n in range(20)])
    lines = list(source.read({}))
    for place, line in enumerate(lines):
        rest = payloads(source, {line.offset.segment: line.offset.end})
        assert [row["n"] for row in rest] == list(range(place + 1, 20))


def test_limit_bounds_the_lines_of_one_read(log: tuple[Any, Any]) -> None:
    sink, source = log
    sink.append_many([{"n": n} for n in range(5)])
    assert len(payloads(source, limit=3)) == 3
    assert payloads(source, limit=0) == []


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 60))
def test_a_limit_is_shared_by_the_segments_and_each_line_is_met_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], limit: int
) -> None:
    root = tmp_path_factory.mktemp("shared")
    for worker, size in enumerate(sizes):
        sink = FileLogSink(root, clock=lambda: NOON)
        sink.append_many([{"worker": worker, "n": n} for n in range(size)])
        sink.close()
    source, after, met = FileLogSource(root), dict[str, int](), list[Any]()
    while lines := list(source.read(after, limit)):
        if not met:
            first = Counter(json.loads(line.payload)["worker"] for line in lines)
            assert all(first[worker] >= min(size, limit // len(sizes)) for worker, size in enumerate(sizes))
        assert len(lines) == min(limit, sum(sizes) - len(met))
        met += [json.loads(line.payload) for line in lines]
        after |= {line.offset.segment: line.offset.end for line in lines}
    for worker, size in enumerate(sizes):
        assert [row["n"] for row in met if row["worker"] == worker] == list(range(size))


def test_appending_goes_on_after_close(log: tuple[Any, Any]) -> None:
    sink, source = log
    sink.append({"n": 0})
    sink.sync()
    sink.close()
    sink.append({"n": 1})
    assert [row["n"] for row in payloads(source)] == [0, 1]


def test_a_full_log_raises_and_appends_again_once_there_is_space() -> None:
    full = FullLog()
    with pytest.raises(LogError, match="No space left"):
        full.append({})
    full.is_full = False
    full.append({})
    assert len(full.lines) == 1


def test_each_hour_and_each_sink_has_a_segment_of_its_own(tmp_path: Path) -> None:
    clock = [NOON]
    sink = FileLogSink(tmp_path, clock=lambda: clock[0])
    sink.append({"n": 0})
    clock[0] += 3600
    sink.append({"n": 1})
    FileLogSink(tmp_path, clock=lambda: clock[0]).append({"n": 2})
    folders = [segment.rpartition("/")[0] for segment, _ in FileLogSource(tmp_path).segments()]
    assert folders == ["dt=2024-03-01/hour=12", "dt=2024-03-01/hour=13", "dt=2024-03-01/hour=13"]
    assert [row["n"] for row in payloads(FileLogSource(tmp_path))] == [0, 1, 2]


def test_a_source_that_starts_late_leaves_earlier_hours_out(tmp_path: Path) -> None:
    clock = [NOON]
    sink = FileLogSink(tmp_path, clock=lambda: clock[0])
    for n in range(3):
        sink.append({"n": n})
        clock[0] += 3600
    late = FileLogSource(tmp_path, since=datetime(2024, 3, 1, 13, 59, tzinfo=UTC))
    assert [row["n"] for row in payloads(late)] == [1, 2]


def test_a_settled_hour_is_listed_once_and_its_lines_stay_readable(tmp_path: Path) -> None:
    sink = FileLogSink(tmp_path, clock=lambda: NOON)
    sink.append({"n": 0})
    source = FileLogSource(tmp_path, clock=lambda: NOON + 7200)
    assert source.segments() == source.segments()
    assert [row["n"] for row in payloads(source)] == [0]


@given(st.integers(min_value=1, max_value=40))
def test_a_torn_tail_is_never_read(tmp_path_factory: pytest.TempPathFactory, n_bytes: int) -> None:
    root = tmp_path_factory.mktemp("torn")
    sink = FileLogSink(root)
    sink.append({"n": 0})
    segment = root / FileLogSource(root).segments()[0][0]
    with segment.open("ab") as file:
        file.write(b'{"n": 1, "text": "0123456789012345678901234567890"}'[:n_bytes])
    assert payloads(FileLogSource(root)) == [{"n": 0}]


def test_the_tail_holds_the_last_complete_lines(tmp_path: Path) -> None:
    sink = FileLogSink(tmp_path)
    sink.append_many([{"n": n, "text": "x" * 1000} for n in range(300)])
    FileLogSink(tmp_path).append_many([{"n": n} for n in range(300, 310)])
    tail = [json.loads(line)["n"] for line in FileLogSource(tmp_path).tail(200)]
    assert tail == list(range(110, 310))
    assert len(FileLogSource(tmp_path).tail(1000)) == 310
    assert FileLogSource(tmp_path / "absent").tail(5) == []


WRITER = """
import resource, sys
from pathlib import Path
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform.contracts.errors import LogError

sink = FileLogSink(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
refused = 0
for n in range(40):
    try:
        sink.append({"n": n, "text": "x" * 80})
    except LogError as error:
        assert "cannot append" in str(error) or "only" in str(error), error
        refused += 1
        kept = n
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
sink.append({"n": 40})
print(refused)
"""


def test_a_full_device_refuses_and_nothing_refused_is_ever_read(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], capture_output=True, text=True, check=True)
    refused = int(done.stdout)
    read = [row["n"] for row in payloads(FileLogSource(tmp_path))]
    assert refused > 0
    assert len(read) == len(set(read)) == 41 - refused
    assert read[-1] == 40


def test_a_folder_that_cannot_be_made_names_itself_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where a folder should be")
    sink = FileLogSink(tmp_path / "log")
    for attempt in (lambda: sink.append({}), sink.check):
        with pytest.raises(LogError, match=r"log .*cannot append.*make the folder writable"):
            attempt()


KILLED = """
import sys
from pathlib import Path
from shadow_platform.adapters.log import FileLogSink
sink = FileLogSink(Path(sys.argv[1]), clock=lambda: 0.0)
n = 0
while True:
    sink.append({"n": n, "text": "x" * 500})
    sys.stdout.write(f"{n}\\n"); sys.stdout.flush()
    n += 1
"""


def test_sigkill_loses_no_acknowledged_line_and_tears_none(tmp_path: Path) -> None:
    last = []
    for _ in range(3):
        command = [sys.executable, "-c", KILLED, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(500):
                acknowledged = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split("\n")[:-1]
            last.append(int(rest[-1]) if rest else acknowledged)
    read = [row["n"] for row in payloads(FileLogSource(tmp_path))]
    assert len(FileLogSource(tmp_path).segments()) == 3
    assert sum(n + 1 for n in last) <= len(read) <= sum(n + 2 for n in last)


def prediction() -> PredictionRecord:
    return PredictionRecord(
        "r", "shop", "s", {"k": "v"}, "2024-01-01T00:00:00.000Z", "2024-01-01T00:00:01.000Z", {"a": 1.5, "b": None},
        {"request": 1, "online": 0, "imputed": 1}, None, "1", "hash", "champion", 1.0, 0.25, False, 0.5, 1.25,
    )  # fmt: skip


def comparison() -> ShadowRecord:
    return ShadowRecord(
        "r", "shop", "s", "2024-01-01T00:00:00.000Z", "2024-01-01T00:00:02.000Z", "compared",
        ModelAnswer(0.25, False, 1.25, "1"), ModelAnswer(0.75, True, 0.1, "2"), SourceOffset("dt=x/y", 17),
        probability_diff=0.5, prediction_match=False,
    )  # fmt: skip


def test_records_survive_the_log(tmp_path: Path) -> None:
    sink = FileLogSink(tmp_path)
    sink.append_many([prediction(), comparison()])
    first, second = FileLogSource(tmp_path).read({})
    assert decode_prediction(first.payload) == prediction()
    assert decode_shadow(second.payload) == comparison()


def test_lines_of_earlier_schema_versions_are_read_with_what_they_did_not_know_yet() -> None:
    records = [decode_prediction(line) for line in OLD_PREDICTIONS.read_bytes().splitlines()]
    assert [record.schema_version for record in records] == [1, 2, 3, 4]
    assert [record.is_fallback for record in records] == [False, True, False, False]
    assert [record.is_explored for record in records] == [False, False, True, False]
    assert [record.label_propensity for record in records] == [1.0, 1.0, 0.05, 1.0]
    assert [record.context for record in records] == [{}, {}, {}, {"event_id": "e1"}]
    for record in records:
        assert (record.feature_times, record.overridden) == ({}, [])
        assert (record.probability, record.features["channel"]) == (0.75, "mail")


def test_a_later_schema_version_is_read_by_the_fields_that_are_known(tmp_path: Path) -> None:
    line = json.loads(json.dumps({**{f: getattr(prediction(), f) for f in prediction().__slots__}, "new_field": 1}))
    assert decode_prediction(json.dumps(line).encode()) == prediction()


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b"null", b"\xff"])
def test_an_unreadable_line_is_named(line: bytes) -> None:
    for decode in (decode_prediction, decode_shadow):
        with pytest.raises(LogError, match="it is left out"):
            decode(line)
