"""The tail of a log holds what was logged since, within bounds, and says from when on it is complete."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from bento.answering.monitoring import MonitoringView, Tail
from shadow_platform.adapters.log import FileLogSink, FileLogSource, decode_prediction
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import PredictionRecord
from shadow_platform.domain.serving import rfc3339
from shadow_platform_tests.domain.test_monitoring import FAILURE, RECORD
from shadow_platform_tests.tiny import USE_CASE

START = datetime(2024, 1, 15, 10, 0, tzinfo=UTC)
LINE_BYTES = len(orjson.dumps(RECORD)) + 1


def at(second: float) -> PredictionRecord:
    """The record logged at a second after the start."""
    return replace(RECORD, logged_at=rfc3339(START + timedelta(seconds=second)))


def tail_of(root: Path, kept: int = 1000, max_lines: int = 1000) -> Tail[PredictionRecord]:
    source = FileLogSource(root, clock=START.timestamp)
    return Tail(source, decode_prediction, lambda r: r.logged_at, kept=kept, max_bytes=max_lines * LINE_BYTES + 1)


def seconds(tail: Tail[PredictionRecord]) -> list[float]:
    return [(datetime.fromisoformat(entry.logged_at) - START).total_seconds() for entry in tail.entries]


def sink(root: Path, hour: int = 10) -> FileLogSink:
    """A segment in the folder of an hour."""
    return FileLogSink(root, clock=START.replace(hour=hour).timestamp)


def test_a_log_that_does_not_exist_yet_is_empty_and_complete(tmp_path: Path) -> None:
    tail = tail_of(tmp_path / "log")
    tail.follow()
    assert (tail.entries, tail.complete_from) == ([], None)


def test_segments_are_followed_as_they_grow_and_put_in_order_of_time(tmp_path: Path) -> None:
    tail, first, second = tail_of(tmp_path), sink(tmp_path), sink(tmp_path)
    first.append_many([at(0), at(3)])
    second.append_many([at(1), at(2)])
    tail.follow()
    assert seconds(tail) == [0, 1, 2, 3]
    second.append(at(4))
    first.append(at(5))
    tail.follow()
    tail.follow()
    assert seconds(tail) == [0, 1, 2, 3, 4, 5]
    assert tail.complete_from is None
    assert len(tail.since(at(4).logged_at)) == 2


def test_what_is_no_record_is_left_out(tmp_path: Path) -> None:
    writer = sink(tmp_path)
    writer.append_many([at(0), {"other": 1}])
    segment = next(tmp_path.rglob("*.jsonl"))
    with segment.open("ab") as file:
        file.write(b"torn\n" + orjson.dumps(at(1)) + b"\n" + b"no end")
    tail = tail_of(tmp_path)
    tail.follow()
    assert seconds(tail) == [0, 1]


def test_no_more_than_the_latest_are_kept_and_the_answer_says_from_when(tmp_path: Path) -> None:
    tail, writer = tail_of(tmp_path, kept=3), sink(tmp_path)
    for second in range(5):
        writer.append(at(second))
        tail.follow()
    assert seconds(tail) == [2, 3, 4]
    assert tail.complete_from == at(2).logged_at


def test_a_long_log_is_read_from_its_end_alone(tmp_path: Path) -> None:
    sink(tmp_path, hour=8).append_many([at(second) for second in range(-7200, -7100)])
    sink(tmp_path).append_many([at(second) for second in range(100)])
    tail = tail_of(tmp_path, max_lines=10)
    tail.follow()
    assert seconds(tail) == list(range(90, 100))
    assert tail.complete_from == at(90).logged_at


def test_what_was_written_between_two_calls_is_passed_over_when_it_is_too_much(tmp_path: Path) -> None:
    tail, writer = tail_of(tmp_path, max_lines=10), sink(tmp_path)
    writer.append_many([at(second) for second in range(5)])
    tail.follow()
    assert tail.complete_from is None
    writer.append_many([at(second) for second in range(5, 100)])
    tail.follow()
    assert seconds(tail) == list(range(90, 100))
    assert tail.complete_from == at(90).logged_at


def test_parallel_segments_of_an_hour_share_what_is_read(tmp_path: Path) -> None:
    busy, quiet = sink(tmp_path), sink(tmp_path)
    busy.append_many([at(second) for second in range(100)])
    quiet.append_many([at(second + 0.5) for second in range(100)])
    tail = tail_of(tmp_path, max_lines=20)
    tail.follow()
    assert tail.complete_from is not None
    complete = [entry for entry in tail.entries if entry.logged_at >= tail.complete_from]
    assert len(complete) >= 19
    assert {entry.logged_at[-4:] for entry in complete} == {"000Z", "500Z"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 12), st.booleans()), max_size=12), st.integers(3, 30))
def test_nothing_is_missing_from_the_time_on_that_is_called_complete(
    steps: list[tuple[str, int, bool]], max_lines: int
) -> None:
    """Three writers append in any order, in bursts of any size, and the tail is read at any time."""
    with TemporaryDirectory() as root:
        hour = Path(root, "dt=2024-01-15", "hour=10")
        hour.mkdir(parents=True)
        tail, n_written = tail_of(Path(root), kept=25, max_lines=max_lines), 0
        for writer, n, is_read in steps:
            with (hour / f"1-{writer}.jsonl").open("ab") as segment:
                segment.writelines(orjson.dumps(at(n_written + offset)) + b"\n" for offset in range(n))
            n_written += n
            if is_read:
                tail.follow()
        tail.follow()
    complete_from = tail.complete_from or START.isoformat()
    start = int((datetime.fromisoformat(complete_from) - START).total_seconds())
    assert [second for second in seconds(tail) if second >= start] == list(range(start, n_written))
    assert len(tail.entries) <= 25


def test_the_view_shows_the_window_of_all_workers_and_their_failures(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    workers = [FileLogSink(layout.log("predictions", USE_CASE.name)) for _ in range(2)]
    failures = FileLogSink(layout.log("failures", USE_CASE.name))
    workers[0].append_many([at(-7200), at(0)])
    workers[1].append(at(1))
    failures.append(FAILURE)
    view, now = MonitoringView(layout, USE_CASE), START + timedelta(seconds=60)
    stats = view.stats(timedelta(hours=1), now)
    assert (stats["requests"], stats["failures"], stats["is_complete"]) == (2, {"canary-failed": 1}, True)
    assert (stats["from"], stats["until"]) == ("2024-01-15T09:01:00.000Z", "2024-01-15T10:01:00.000Z")
    assert view.stats(timedelta(days=1), now)["requests"] == 3
    assert view.stats(timedelta(seconds=1), now)["requests"] == 0
