"""Training frames and the records of how they came about: kept exactly, found by a few digits, never told anew."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.errors import LakeError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.lineage import FrameRecord, PartitionSnapshot

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
FIRST, SECOND = "ab12" + 60 * "0", "ab34" + 60 * "0"
FRAME = pd.DataFrame({"a": [1.5, None], "b": ["x", None], "at": pd.to_datetime([NOON, NOON]).as_unit("us")})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Layout(tmp_path))


def _record(fingerprint: str = FIRST, partitions: str = "p1", run_id: str = "run-1", **changes: Any) -> FrameRecord:
    day = PartitionSnapshot(
        asset="tiny/events",
        partition="2024-01-01",
        code_version="1",
        data_version=partitions,
        run_id=run_id,
        materialized_at=NOON,
    )
    values: dict[str, Any] = {
        "use_case": "tiny",
        "fingerprint": fingerprint,
        "as_of": NOON,
        "n_rows": 2,
        "n_requests": 2,
        "n_imported_labels": 0,
        "n_censored_labels": 0,
        "queries": "q",
        "partitions": (day,),
        "partitions_fingerprint": partitions,
    }
    return FrameRecord(**{**values, **changes})


def test_frames_are_kept_exactly_under_their_fingerprint_with_their_record(lake: Lake) -> None:
    lake.write_frame("tiny", FRAME, _record())

    pd.testing.assert_frame_equal(lake.read_frame("tiny", FIRST), FRAME)
    assert lake.frame_record("tiny", FIRST) == _record()


def test_a_frame_that_is_not_there_says_what_to_do(lake: Lake) -> None:
    with pytest.raises(LakeError, match=rf"frame '{FIRST}' of tiny does not exist .* same events make the same frame"):
        lake.read_frame("tiny", FIRST)
    assert lake.frame_record("tiny", FIRST) is None


def test_the_same_frame_made_of_other_partitions_is_told_beside_the_first_not_instead(lake: Lake) -> None:
    lake.write_frame("tiny", FRAME, _record())
    lake.write_frame("tiny", FRAME, _record(partitions="p2"))

    assert lake.frame_record("tiny", FIRST) == _record()
    assert lake.frame_record("tiny", FIRST, "p1") == _record()
    assert lake.frame_record("tiny", FIRST, "p2") == _record(partitions="p2")
    assert lake.frame_record("tiny", FIRST, "p3") is None


def test_the_same_frame_made_of_the_same_partitions_is_told_once(lake: Lake) -> None:
    for run_id in ("run-1", "run-2"):
        lake.write_frame("tiny", FRAME, _record(run_id=run_id))

    path = lake.layout.frame_record("tiny", FIRST)
    assert path.read_text().count('"run_id"') == 1
    assert lake.frame_record("tiny", FIRST) == _record()


def test_no_record_is_lost_when_many_are_written_at_once(lake: Lake) -> None:
    names = [f"p{n}" for n in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: lake.write_frame("tiny", FRAME, _record(partitions=name)), names))

    assert all(lake.frame_record("tiny", FIRST, name) == _record(partitions=name) for name in names)
    leftovers = [path.name for path in lake.layout.frame("tiny", FIRST).parent.iterdir() if path.name.startswith(".")]
    assert leftovers == []


def test_a_write_that_fails_leaves_the_records_there_were(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    lake.write_frame("tiny", FRAME, _record())
    monkeypatch.setattr("shadow_platform.adapters.lake.parquet.os.fsync", full)
    with pytest.raises(LakeError, match="No space left on device"):
        lake.write_frame("tiny", FRAME, _record(partitions="p2"))
    monkeypatch.undo()

    assert lake.frame_record("tiny", FIRST, "p2") is None
    assert lake.frame_record("tiny", FIRST) == _record()
    pd.testing.assert_frame_equal(lake.read_frame("tiny", FIRST), FRAME)


def test_records_that_cannot_be_read_are_named(lake: Lake) -> None:
    lake.write_frame("tiny", FRAME, _record())
    lake.layout.frame_record("tiny", FIRST).write_text("[{]")

    with pytest.raises(LakeError, match=rf"{FIRST}.json cannot be read as the records of a frame .* remove it"):
        lake.frame_record("tiny", FIRST)


def test_a_frame_is_found_by_the_digits_that_are_its_own(lake: Lake) -> None:
    for fingerprint in (FIRST, SECOND):
        lake.write_frame("tiny", FRAME, _record(fingerprint))

    assert lake.find_frame("tiny", "ab1") == FIRST
    assert lake.find_frame("tiny", "AB3") == SECOND
    with pytest.raises(LakeError, match=r"more than one frame of tiny .* 'ab'; there are: ab1200000000, ab3400000000"):
        lake.find_frame("tiny", "ab")
    with pytest.raises(LakeError, match=r"no frame of tiny .* 'ff'; there are: ab1200000000"):
        lake.find_frame("tiny", "ff")
    with pytest.raises(LakeError, match=r"no frame of other .* there are: none"):
        lake.find_frame("other", "ab")
