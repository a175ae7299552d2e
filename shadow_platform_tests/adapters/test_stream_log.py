"""Segments of a stream: every message once, whoever wrote it how often, and whatever it holds."""

import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.adapters import stream_log
from shadow_platform.adapters.stream_log import StreamLog
from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.stream import Message
from shadow_platform_tests.sources import REPOSITORY

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
DAY = NOON.date()


def message(offset: int, partition: int = 0, value: bytes | None = b"{}", at: datetime = NOON) -> Message:
    return Message("visits", partition, offset, at, b"k", value)


def append(folder: Path, *batches: Sequence[Message]) -> StreamLog:
    log = StreamLog(folder)
    for batch in batches:
        log.append(batch)
    log.close()
    return log


contents = st.none() | st.binary(max_size=60) | st.text(max_size=30).map(str.encode)
messages = st.builds(
    Message,
    topic=st.sampled_from(["visits", "visits-2"]),
    partition=st.integers(0, 2),
    offset=st.integers(0, 2**53),
    stamped_at=st.integers(0, 10**7).map(lambda ms: NOON + timedelta(milliseconds=ms * 1000)),
    key=contents,
    value=contents,
)


@settings(max_examples=30, deadline=None)
@given(st.lists(messages, max_size=12, unique_by=lambda m: (m.topic, m.partition, m.offset)))
def test_what_was_appended_is_read_with_every_byte(some: list[Message]) -> None:
    with TemporaryDirectory() as folder:
        log = append(Path(folder), some)

        assert [found for day in log.days() for found in log.read(day)] == sorted(
            some, key=lambda m: (m.stamped_at.date(), m.partition, m.topic, m.offset)
        )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20), st.integers(1, 6)), min_size=1, max_size=8))
def test_a_message_delivered_again_to_any_process_is_read_once_and_in_order(
    deliveries: list[tuple[int, int, int]],
) -> None:
    with TemporaryDirectory() as folder:
        writers = [StreamLog(Path(folder)), StreamLog(Path(folder))]
        for writer, first, n in deliveries:
            writers[writer].append([message(offset) for offset in range(first, first + n)])

        offsets = [found.offset for found in writers[0].read(DAY)]

        assert offsets == sorted({offset for _, first, n in deliveries for offset in range(first, first + n)})
        for each in writers:
            each.close()


def test_a_message_lies_in_the_day_of_its_stamp_also_when_it_comes_late(tmp_path: Path) -> None:
    before, after = datetime(2024, 1, 1, 23, 59, 59, 999000, UTC), datetime(2024, 1, 2, tzinfo=UTC)
    log = append(tmp_path, [message(1, at=after), message(0, at=before)], [message(2, at=before)])

    assert log.days() == [DAY, DAY + timedelta(days=1)]
    assert [found.offset for found in log.read(DAY)] == [0, 2]
    assert list(log.read(date(2024, 1, 3))) == []


def test_a_torn_tail_is_not_read_and_a_new_process_writes_beside_it(tmp_path: Path) -> None:
    append(tmp_path, [message(0), message(1)])
    (segment,) = tmp_path.glob("dt=*/*")
    segment.write_bytes(segment.read_bytes()[:-7])

    log = append(tmp_path, [message(1), message(2)])

    assert [found.offset for found in log.read(DAY)] == [0, 1, 2]


def test_a_line_that_no_consumer_wrote_is_named(tmp_path: Path) -> None:
    log = append(tmp_path, [message(0)])
    (segment,) = tmp_path.glob("dt=*/*")
    segment.write_bytes(b'{"offset": 1}\n' + segment.read_bytes())

    with pytest.raises(LogError, match=r"p0-.*holds a line that no consumer wrote .*offset.*resetting the group"):
        list(log.read(DAY))


def test_a_replay_of_many_days_holds_few_files_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_log, "MAX_OPEN", 3)
    log = StreamLog(tmp_path)
    for offset in range(40):
        log.append([message(offset, at=NOON + timedelta(days=offset % 8))])
        assert len(log._open) <= 3
    log.close()

    assert sorted(found.offset for day in log.days() for found in log.read(day)) == list(range(40))
    assert len(list(tmp_path.glob("dt=*/*"))) == 8


def test_what_comes_after_a_segment_was_closed_goes_on_in_it(tmp_path: Path) -> None:
    log = append(tmp_path, [message(0)])

    log.append([message(1)])
    log.close()

    (segment,) = tmp_path.glob("dt=*/*")
    assert segment.read_bytes().count(b"\n") == 2
    assert [found.offset for found in log.read(DAY)] == [0, 1]


def test_a_day_is_read_whose_segments_are_more_than_files_may_be_open(tmp_path: Path) -> None:
    for offset in range(60):
        append(tmp_path, [message(offset)])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = {int(entry.name) for entry in Path("/proc/self/fd").iterdir()}
    free = [number for number in range(len(taken) + 20) if number not in taken]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[10], hard))
    try:
        offsets = [found.offset for found in StreamLog(tmp_path).read(DAY)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert offsets == list(range(60))


@pytest.mark.parametrize("block", [1, 300, 10_000])
def test_a_day_is_read_alike_in_blocks_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(stream_log, "BLOCK_BYTES", block)
    batches = [[message(offset, value=b"x" * offset) for offset in some] for some in (range(50), range(20, 90))]
    log = append(tmp_path, *batches)
    append(tmp_path, *batches)

    assert [len(found.value or b"") for found in log.read(DAY)] == list(range(90))


def test_a_message_that_comes_again_while_its_day_is_read_is_read_once(tmp_path: Path) -> None:
    writer = StreamLog(tmp_path)
    writer.append([message(offset) for offset in range(50)])
    reading = StreamLog(tmp_path).read(DAY)
    offsets = [next(reading).offset]

    writer.append([message(offset) for offset in range(30, 60)])
    offsets += [found.offset for found in reading]

    assert offsets == list(range(50))
    assert [found.offset for found in writer.read(DAY)] == list(range(60))
    writer.close()


def test_of_a_message_that_came_twice_the_first_time_counts(tmp_path: Path) -> None:
    early, late = NOON, NOON + timedelta(hours=1)
    log = append(tmp_path, [message(0)])
    append(tmp_path, [replace(message(1), consumed_at=early)])

    log.append([replace(message(1), consumed_at=late)])

    assert [found.consumed_at for found in log.read(DAY)] == [None, early]


def test_a_segment_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    log = append(tmp_path, [message(0)])
    (tmp_path / f"dt={DAY}" / "p0-z.jsonl").mkdir()

    with pytest.raises(LogError, match=r"p0-z\.jsonl cannot be read \(Is a directory\); see to it"):
        list(log.read(DAY))


def test_a_topic_that_was_made_anew_loses_no_message_to_an_old_one_of_the_same_offset(tmp_path: Path) -> None:
    old, new = [message(0, value=b"a"), message(1, value=b"b")], [message(0, value=b"c"), message(1, value=b"b")]
    log = append(tmp_path, old)
    append(tmp_path, new, old[:1])

    assert [found.value for found in log.read(DAY)] == [b"a", b"c", b"b"]


FILL = """
import resource, signal, sys
from pathlib import Path
from shadow_platform_tests.adapters.test_stream_log import StreamLog, message
from shadow_platform.contracts.errors import LogError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
log = StreamLog(Path(sys.argv[1]))
try:
    for offset in range(100):
        log.append([message(offset)])
        print(offset)
except LogError as error:
    print(error, file=sys.stderr)
"""


def test_a_batch_that_the_device_refuses_is_an_error_and_leaves_no_torn_line(tmp_path: Path) -> None:
    """A limit on the size of a file stands for a full device: both cut a write short."""
    filled = subprocess.run(
        [sys.executable, "-c", FILL, tmp_path], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    assert re.search(r"messages could not be written below .*only \d+ of \d+ bytes .*nothing is lost", filled.stderr)
    (segment,) = tmp_path.glob("dt=*/*")
    assert segment.read_bytes().endswith(b"\n")
    appended = [int(number) for number in filled.stdout.split()]
    assert [found.offset for found in StreamLog(tmp_path).read(DAY)] == appended == list(range(len(appended)))
    assert appended


def test_a_day_grows_by_every_message(tmp_path: Path) -> None:
    log = StreamLog(tmp_path)
    sizes = [log.size(DAY)]
    for offset in range(3):
        log.append([message(offset)])
        sizes.append(log.size(DAY))

    assert all(before < after for before, after in pairwise(sizes))


def test_when_a_message_was_first_consumed_is_kept_and_does_not_make_it_another(tmp_path: Path) -> None:
    for minutes in (1, 2):
        append(tmp_path, [replace(message(0), consumed_at=NOON + timedelta(minutes=minutes))])

    assert [found.consumed_at for found in StreamLog(tmp_path).read(DAY)] == [NOON + timedelta(minutes=1)]


def test_a_day_is_read_by_partition(tmp_path: Path) -> None:
    append(tmp_path, [message(0, 0), message(0, 1), message(0, 2)])
    log = StreamLog(tmp_path)

    assert log.partitions(DAY) == {0, 1, 2}
    assert [found.partition for found in log.read(DAY, {0, 2})] == [0, 2]
