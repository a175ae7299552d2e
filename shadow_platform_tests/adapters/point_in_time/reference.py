"""Which row answers a request, by the rule alone, and rows and requests to try it on.

Belongs here: the reference implementation, and how rows are written as partitions. Upstream: the contract. Downstream:
the tests beside it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from shadow_platform_tests.adapters.feature_rows import HOUR, START

ODD_KEYS = ["u1", 'O\'Brien "x"', "", " u1", "u1\n", "naïve/ключ;--", "🛫", "NULL", "a" * 500]
MOMENT = timedelta(microseconds=1)


class Row(NamedTuple):
    """A feature row; ``created_at`` may be unknown."""

    user: str | None
    event_at: datetime
    created_at: datetime | None
    visits: float | None = 1.0
    device: str | None = None


class Asked(NamedTuple):
    """A request."""

    user: str | None
    at: datetime


def answer(rows: Sequence[Row], asked: Asked, ttl: timedelta | None, known_only: bool = True) -> Row | None:
    """The newest row that was true and known; of equal ones the one created last, of equal ones the last."""
    best: Row | None = None
    for row in rows:
        if row.user != asked.user or row.user is None or row.event_at > asked.at:
            continue
        if known_only and (row.created_at is None or row.created_at > asked.at):
            continue
        if best is None or _age(row) >= _age(best):
            best = row
    if best is None or (ttl is not None and asked.at - best.event_at > ttl):
        return None
    return best


def _age(row: Row) -> tuple[datetime, bool, datetime]:
    return row.event_at, row.created_at is not None, row.created_at or row.event_at


def table(rows: Sequence[Row]) -> pa.Table:
    """Rows as the platform writes them."""
    instant = pa.timestamp("us", "UTC")
    types = [pa.string(), instant, instant, pa.float64(), pa.string()]
    columns = list(zip(*rows, strict=True)) or [()] * len(types)
    return pa.table(
        {name: pa.array(values, kind) for name, values, kind in zip(Row._fields, columns, types, strict=True)}
    )


def partitions(folder: Path, rows: Sequence[Row]) -> list[Row]:
    """Write rows as one file a day of their event; returns them in the order of the files."""
    days = sorted({row.event_at.date() for row in rows})
    for day in days:
        (folder / f"dt={day}").mkdir(parents=True)
        pq.write_table(
            table([row for row in rows if row.event_at.date() == day]), folder / f"dt={day}" / "data.parquet"
        )
    return [row for day in days for row in rows if row.event_at.date() == day]


N_HALVES = 20
EVENING = START + 20 * HOUR
delays = st.sampled_from([-HOUR, timedelta(0), MOMENT, HOUR / 2, HOUR, 3 * HOUR])


@st.composite
def feature_rows(draw: st.DrawFn, users: Sequence[str | None], max_size: int = 30) -> list[Row]:
    """Rows around midnight, many of one user, many late, each told apart by its ``visits``."""
    moments = st.builds(
        lambda halves, micros: EVENING + halves * HOUR / 2 + micros * MOMENT,
        st.integers(0, N_HALVES),
        st.integers(-1, 1),
    )
    chosen = draw(st.lists(st.sampled_from(users), min_size=1, max_size=3))
    each = st.tuples(st.sampled_from(chosen), moments, delays)
    times = draw(st.lists(each, min_size=max_size // 3, max_size=max_size))
    return [
        Row(user, at, at + delay, float(n), f"d{n}" if n % 3 else None) for n, (user, at, delay) in enumerate(times)
    ]


def every_request(users: Sequence[str | None]) -> list[Asked]:
    """Every user at every moment at which an answer may change, and next to it, in no order."""
    asked = [
        Asked(user, EVENING + halves * HOUR / 2 + micros * MOMENT)
        for user in users
        for halves in range(-2, N_HALVES + 20)
        for micros in (-2, -1, 0, 1, 2)
    ]
    Random(0).shuffle(asked)
    return asked
