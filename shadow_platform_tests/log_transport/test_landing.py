"""The lander's promises for any order of messages that relays and kills can bring about."""

import logging
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.kafka import KafkaSettings, Partition
from shadow_platform.adapters.landing import LandedSegments
from shadow_platform.contracts.errors import LogError, StreamError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.stream import Message
from shadow_platform.log_transport.lander import LogLander
from shadow_platform.log_transport.topics import received
from shadow_platform_tests.log_transport.carried import USE_CASE, contents

TOPIC = f"shadow.predictions.{USE_CASE}"
FOLDER = "dt=2024-01-01/hour=00"
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Each flush takes milliseconds on a disk, and a property makes thousands."""
AT = datetime(2024, 1, 1, tzinfo=UTC)
LINES = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=8)


class Offsets:
    """Stands where a consumer is, and remembers what was committed."""

    def __init__(self) -> None:
        self.next: dict[Partition, int] = {}
        self.committed: dict[Partition, int] = {}

    def reached(self, place: Partition, offset: int) -> None:
        self.next[place] = offset

    def commit(self) -> None:
        self.committed.update(self.next)


def lander_of(layout: Layout, skips_gaps: bool = False) -> tuple[LogLander, Offsets]:
    """A lander that is given its messages by hand, as after an assignment."""
    kafka = KafkaSettings("127.0.0.1:1")
    lander = LogLander(layout, USE_CASE, ["predictions"], kafka, "shadow", "group", skips_gaps)
    offsets = Offsets()
    lander._consumer = offsets  # type: ignore[assignment]
    lander._assigned(frozenset())
    return lander, offsets


def message(offset: int, segment: str, start: int, line: bytes, partition: int = 0) -> Message:
    """A relay's message at some place of the topic."""
    headers = (("offset", str(start).encode()), ("host", b"pod-1"))
    return Message(TOPIC, partition, offset, AT, segment.encode(), line, AT, headers)


def sent(segment: str, lines: list[bytes]) -> list[tuple[str, int, bytes]]:
    """Lines of a segment with the bytes at which they begin."""
    found, start = [], 0
    for line in lines:
        found.append((segment, start, line))
        start += len(line) + 1
    return found


def lives(layout: Layout, topic: list[tuple[str, int, bytes]], rng: Random, n_kills: int) -> None:
    """Land a topic by one lander after another, each killed somewhere, the last at its end."""
    begin = 0
    for n_left in range(n_kills, -1, -1):
        lander, found = lander_of(layout)
        size = rng.randrange(1, 6)
        dies_at = rng.randrange(begin, len(topic) + 1) if n_left else len(topic)
        for n in range(begin, dies_at, size):
            lander._take([message(place, *topic[place]) for place in range(n, min(n + size, dies_at))])
            if rng.random() < 0.5:
                lander._commit()
        if not n_left:
            lander._commit()
        lander._segments["predictions"].close()
        begin = found.committed.get((TOPIC, 0), begin)
        for landed in layout.log("predictions", USE_CASE).rglob("*.jsonl"):
            if n_left and rng.random() < 0.2:
                with landed.open("ab") as file:
                    file.write(b"torn by a kill")


@settings(max_examples=100, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=3), st.integers(0, 4), st.randoms(use_true_random=False))
def test_whatever_is_repeated_early_or_cut_off_each_line_lands_once_at_its_place(
    segments: list[list[bytes]], n_kills: int, rng: Random
) -> None:
    wanted = {f"{FOLDER}/{n}-a.jsonl": lines for n, lines in enumerate(segments)}
    lines = [line for segment, its in wanted.items() for line in sent(segment, its)]
    disorder = lines * 2
    rng.shuffle(disorder)
    with TemporaryDirectory(dir=MEMORY) as folder:
        layout = Layout(Path(folder))
        lives(layout, disorder, rng, n_kills)
        expected = {name: b"".join(line + b"\n" for line in its) for name, its in wanted.items()}
        assert {name.partition("use_case=shop/")[2]: text for name, text in contents(layout).items()} == expected


def test_a_line_that_comes_too_early_is_held_and_not_committed(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    segment = f"{FOLDER}/1-a.jsonl"
    first, second, third = sent(segment, [b"one", b"two", b"three"])
    lander, offsets = lander_of(layout)
    lander._take([message(0, *first), message(1, *third), message(2, f"{FOLDER}/2-b.jsonl", 0, b"other")])
    lander._take([message(0, *third, partition=1)])
    lander._commit()
    assert offsets.committed == {(TOPIC, 0): 3, (TOPIC, 1): 0}, "held once, where it stood last"
    assert sorted(contents(layout).values()) == [b"one\n", b"other\n"]

    lander._tell_gaps(30.0)
    assert lander.counters.errors == 0, "not yet"
    lander._tell_gaps(0.0)
    fourth = sent(segment, [b"one", b"two", b"three", b"four"])[3]
    lander._take([message(1, *fourth, partition=1)])
    lander._tell_gaps(0.0)
    (told,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert f"predictions of {segment} from host pod-1: bytes 4 to 8 have not come" in told
    assert "run `shadow log relay --again` on the machine that wrote them" in told

    lander._take([message(3, *second)])
    lander._commit()
    assert offsets.committed == {(TOPIC, 0): 4, (TOPIC, 1): 2}
    assert b"one\ntwo\nthree\nfour\n" in contents(layout).values()


def test_more_than_memory_holds_stops_nobody_else_and_lands_when_it_is_published_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shadow_platform.log_transport.lander.MAX_HELD_BYTES", 500)
    segment, lines = f"{FOLDER}/1-a.jsonl", [b"%040d" % n for n in range(30)]
    dropped = sent(segment, lines)[10:]
    topic = [*dropped, (f"{FOLDER}/2-b.jsonl", 0, b"other"), *sent(segment, lines)]
    lander, offsets = lander_of(layout)
    for n in range(0, 21, 3):
        lander._take([message(place, *topic[place]) for place in range(n, n + 3)])
    lander._commit()
    assert list(contents(layout).values()) == [b"other\n"]
    assert offsets.committed == {(TOPIC, 0): 0}, "what was let go comes again"
    assert sum(gap.held_bytes for gap in lander._gaps.values()) <= 500

    for n in range(21, len(topic), 3):
        lander._take([message(place, *topic[place]) for place in range(n, min(n + 3, len(topic)))])
    lander._commit()
    assert sorted(contents(layout).values()) == [b"".join(line + b"\n" for line in lines), b"other\n"]
    assert offsets.committed == {(TOPIC, 0): len(topic)}


def test_what_was_let_go_is_read_again_when_only_the_missing_comes(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shadow_platform.log_transport.lander.MAX_HELD_BYTES", 0)
    segment = f"{FOLDER}/1-a.jsonl"
    first, second, third = sent(segment, [b"one", b"two", b"three"])
    lander, offsets = lander_of(layout)
    lander._take([message(0, *second), message(1, *third)])
    lander._take([message(0, *first, partition=1)])
    lander._tell_gaps(30.0)
    with pytest.raises(StreamError, match=r"1-a\.jsonl: what was missing has come, .*; start the lander again"):
        lander._tell_gaps(0.0)
    lander._commit()
    assert offsets.committed == {(TOPIC, 0): 0, (TOPIC, 1): 1}


def test_lines_behind_a_gap_that_is_given_up_are_put_aside_in_order_before_they_are_committed(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    segment = f"{FOLDER}/1-a.jsonl"
    first, _, third, fourth = sent(segment, [b"one", b"two", b"three", b"four"])
    lander, offsets = lander_of(layout, skips_gaps=True)
    lander._take([message(0, *first), message(1, *fourth), message(2, *third)])
    lander._skip_gaps(300.0)
    lander._commit()
    assert offsets.committed == {(TOPIC, 0): 1}, "not yet"
    lander._skip_gaps(0.0)
    lander._commit()
    aside = layout.skipped_lines(USE_CASE, "predictions") / segment
    assert aside.read_bytes() == b"three\nfour\n"
    assert offsets.committed == {(TOPIC, 0): 3}
    assert f"bytes 4 to 8 have not come and are given up; the 2 lines behind them are in {aside}" in caplog.text
    assert list(contents(layout).values()) == [b"one\n"]


def test_an_append_that_fails_commits_neither_what_was_held_nor_what_came_with_it(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = LandedSegments.append

    def full(self: LandedSegments, segment: str, lines: bytes) -> None:
        if b"fails" in lines:
            raise LogError("no space")
        append(self, segment, lines)

    monkeypatch.setattr(LandedSegments, "append", full)
    first, second, third = sent(f"{FOLDER}/1-a.jsonl", [b"one", b"fails", b"three"])
    lander, offsets = lander_of(layout)
    lander._take([message(0, *first), message(1, *third)])
    lander._commit()
    with pytest.raises(LogError, match="no space"):
        lander._take([message(2, *second)])
    lander._commit()
    assert offsets.committed == {(TOPIC, 0): 1}

    other = f"{FOLDER}/2-b.jsonl"
    lander, offsets = lander_of(layout)
    with pytest.raises(LogError, match="no space"):
        lander._take([message(1, *third), message(2, other, 0, b"fails"), message(3, *third)])
    lander._commit()
    assert offsets.committed == {}


def test_a_flush_that_fails_commits_nothing(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    lander, offsets = lander_of(layout)
    lander._take([message(0, f"{FOLDER}/1-a.jsonl", 0, b"one")])

    def broken(_descriptor: int) -> None:
        raise OSError(5, "device is broken")

    with monkeypatch.context() as patched:
        patched.setattr("os.fdatasync", broken)
        with pytest.raises(LogError, match="device is broken"):
            lander._commit()
    lander._commit()
    assert offsets.committed == {}, "a second flush says nothing about the first"


def test_a_line_that_is_only_held_makes_no_file(layout: Layout) -> None:
    lander, _ = lander_of(layout)
    lander._take([message(0, f"{FOLDER}/1-a.jsonl", 7, b"late")])
    assert not layout.home.exists()


@pytest.mark.parametrize(
    "key",
    [
        b"../../manifest.json",
        b"/etc/passwd",
        f"{FOLDER}/../../../x.jsonl".encode(),
        f"{FOLDER}/a.jsonl\n".encode(),
        f"challenger=../{FOLDER}/a.jsonl".encode(),
        f"challenger=../../{FOLDER}/a.jsonl".encode(),
        b"\xff",
        b"",
    ],
)
def test_a_message_never_chooses_a_file_outside_the_log(layout: Layout, key: bytes) -> None:
    lander, offsets = lander_of(layout)
    lander._take([Message(TOPIC, 0, 0, AT, key, b"{}", AT, (("offset", b"0"),))])
    lander._commit()

    assert not layout.home.exists()
    assert (offsets.committed, lander.counters.errors) == ({(TOPIC, 0): 1}, 1)


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (None, (("offset", b"0"),)),
        (b"a\nb", (("offset", b"0"),)),
        (b"a", ()),
        (b"a", (("offset", b"-4"),)),
        (b"a", (("offset", b"four"),)),
    ],
)
def test_what_no_relay_sent_is_left_out(value: bytes | None, headers: tuple[tuple[str, bytes], ...]) -> None:
    assert received(Message(TOPIC, 0, 0, AT, f"{FOLDER}/1-a.jsonl".encode(), value, AT, headers)) is None


def test_a_line_that_contradicts_what_landed_is_left_out_and_told(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    segment = f"{FOLDER}/1-a.jsonl"
    lander, offsets = lander_of(layout)
    lander._take([message(0, segment, 0, b"one"), message(1, segment, 2, b"other")])
    lander._commit()

    assert list(contents(layout).values()) == [b"one\n"]
    assert (offsets.committed, lander.counters.errors) == ({(TOPIC, 0): 2}, 1)
    assert "a line begins at byte 2, within one that landed until byte 4" in caplog.text


def test_a_device_that_refuses_ends_the_lander_before_anything_is_committed(layout: Layout) -> None:
    lander, offsets = lander_of(layout)
    layout.home.mkdir()
    (layout.home / "log").write_text("no folder")
    with pytest.raises(LogError, match=r"could not be landed below .*; nothing|nothing is lost, they come again"):
        lander._take([message(0, f"{FOLDER}/1-a.jsonl", 0, b"one")])
    lander._commit()
    assert offsets.committed == {}


def test_more_segments_than_may_be_open_land_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shadow_platform.adapters.landing.MAX_OPEN", 3)
    landed, numbers = LandedSegments(tmp_path), count()
    for _ in range(3):
        for name in range(8):
            landed.append(f"{FOLDER}/{name}-a.jsonl", b"%d\n" % next(numbers))
    landed.close()
    found = {path.name: path.read_bytes() for path in tmp_path.rglob("*.jsonl")}
    assert found == {f"{n}-a.jsonl": b"%d\n%d\n%d\n" % (n, n + 8, n + 16) for n in range(8)}


def test_a_batch_of_a_segment_is_one_write(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    append = LandedSegments.append

    def counted(self: LandedSegments, segment: str, lines: bytes) -> None:
        writes.append(lines.count(b"\n"))
        append(self, segment, lines)

    monkeypatch.setattr(LandedSegments, "append", counted)
    lander, _ = lander_of(layout)
    lines = [line for name in ("1-a", "2-b") for line in sent(f"{FOLDER}/{name}.jsonl", [b"x"] * 100)]
    lander._take([message(n, *line) for n, line in enumerate(sorted(lines, key=lambda line: line[1]))])
    assert writes == [100, 100]
