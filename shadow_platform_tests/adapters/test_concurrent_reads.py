"""A table that is replaced while somebody reads it is read whole, as it was before or after."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import count

import pandas as pd
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import PIPELINE_RUNS

N_SEEN, PAUSE_S = 20, 0.1
DAY = date(2024, 3, 1)
AT = datetime(2024, 3, 1, 12, tzinfo=UTC)


def _rows(n: int) -> pd.DataFrame:
    """``n`` rows that all say so."""
    told = dict.fromkeys(PIPELINE_RUNS.column_names) | {"use_case": "tiny", "considered_at": AT, "outcome": str(n)}
    return pd.DataFrame([told | {"trigger_id": f"{place:040d}"} for place in range(n)])


@pytest.fixture
def written(tmp_path) -> Iterator[Lake]:
    """Lake with a partition that another thread replaces all the time, by one to fifty rows.

    The slower the machine, the longer it pauses: a read that finds no moment between two writes gives up.
    """
    lake, is_over = Lake(Layout(tmp_path)), threading.Event()
    lake.write_table(PIPELINE_RUNS, "tiny", DAY, _rows(1))

    def write() -> None:
        for n in count():
            began = time.monotonic()
            lake.write_table(PIPELINE_RUNS, "tiny", DAY, _rows(1 + n % 50))
            lake.read_table(PIPELINE_RUNS, "tiny")
            if is_over.wait(max(PAUSE_S, 2 * (time.monotonic() - began))):
                return

    writer = threading.Thread(target=write)
    writer.start()
    yield lake
    is_over.set()
    writer.join()


def test_partition_is_read_whole_while_it_is_replaced(written):
    seen: set[int] = set()
    while len(seen) < N_SEEN:
        rows = written.read_table(PIPELINE_RUNS, "tiny")
        assert set(rows["outcome"]) == {str(len(rows))}
        seen.add(len(rows))


def test_query_sees_whole_partitions_while_they_are_replaced(written):
    seen: set[int] = set()
    while len(seen) < N_SEEN:
        rows = written.sql("SELECT outcome FROM pipeline_runs WHERE use_case = 'tiny'")
        assert set(rows["outcome"]) == {str(len(rows))}
        seen.add(len(rows))
