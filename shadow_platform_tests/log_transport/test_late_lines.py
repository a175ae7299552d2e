"""A line that lands long after its hour was over, because a broker was away, is neither overlooked nor misplaced."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shadow_platform.adapters.lake.log_tables import PREDICTION_LOG, read_days
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform.domain.serving import rfc3339
from shadow_platform_tests.bento.shadowed import record
from shadow_platform_tests.log_transport.carried import USE_CASE, Way

pytestmark = pytest.mark.processes


def test_a_late_line_is_read_by_whoever_follows_the_log_and_stands_in_its_own_day(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shadow_platform.adapters.log.RELIST_S", 0.2)
    asked_at, landed = datetime.now(UTC) - timedelta(days=2), way.platform.log("predictions", USE_CASE)
    day, followed, after = asked_at.date(), FileLogSource(landed), dict[str, int]()
    sink = FileLogSink(way.server().log("predictions", USE_CASE), clock=asked_at.timestamp)

    def answer(number: int) -> None:
        sink.append(replace(record(number, asked_at), requested_at=rfc3339(asked_at)))
        way.carry(way.server())

    def newly_read() -> int:
        lines = list(followed.read(after))
        after.update({line.offset.segment: line.offset.end for line in lines})
        return len(lines)

    answer(1)
    assert (newly_read(), len(read_days(PREDICTION_LOG, landed, USE_CASE, day, day)[0])) == (1, 1)
    answer(2)
    time.sleep(0.3)
    assert newly_read() == 1
    rows, n_unreadable = read_days(PREDICTION_LOG, landed, USE_CASE, day, day)
    assert (sorted(rows["request_id"]), n_unreadable) == (["r-1", "r-2"], 0)
    sink.close()
