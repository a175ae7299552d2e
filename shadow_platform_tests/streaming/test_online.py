"""What the stream keeps online is what the partitions say, however events come and whenever the process dies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import EventKind, FeatureView
from shadow_platform.streaming.online import CATCH_UP, StreamedFeatures
from shadow_platform.testing.tables import run
from shadow_platform_tests.use_cases.fraud.payments import DAY, FRAUD, HOUR, INSTANT, NOON, payment

VELOCITY = FRAUD.views[0]
(TRANSACTIONS,) = (kind for kind in FRAUD.events if kind.topic)
USERS = ("user-00001", "user-00002", "user-00003")
SECOND = timedelta(seconds=1)
TIMES = ("event_at", "received_at")
LONG_AGO = NOON - 100 * DAY


@dataclass
class Stream:
    """A log of events, a consumer's features, and the rows it wrote: newest stamp wins, of equal ones the last."""

    log: list[dict[str, Any]] = field(default_factory=list)
    online: dict[str, dict[str, Any]] = field(default_factory=dict)
    writes: int = 0

    def __post_init__(self) -> None:
        self.start(NOON)

    def start(self, at: pd.Timestamp) -> None:
        """A consumer starts, and is assigned its partitions."""
        self.features = StreamedFeatures(FRAUD, self._write, self._history)
        restore(self.features, at)

    def receive(self, events: Sequence[dict[str, Any]]) -> None:
        """Events are put into the log and taken."""
        self.log.extend(events)
        self.features.add(TRANSACTIONS, _typed(events))

    def advance(self, until: pd.Timestamp) -> int:
        """Rows written."""
        return self.features.advance(until.to_pydatetime())[VELOCITY.name]

    def expected(self, until: pd.Timestamp) -> dict[str, dict[str, Any]]:
        """Newest row of every user that the partitions hold for a moment."""
        events = {TRANSACTIONS.name: _typed(self.log).drop_duplicates("event_id")}
        return _by_user(run(VELOCITY.sql, events, start=LONG_AGO, end=until))

    def _write(self, view: FeatureView, rows: pd.DataFrame) -> int:
        assert view is VELOCITY
        self.writes += 1
        for user, row in _by_user(rows).items():
            if user not in self.online or row["event_at"] >= self.online[user]["event_at"]:
                self.online[user] = row
        return len(rows)

    def _history(self, kind: EventKind, start: datetime, end: datetime) -> Iterator[pd.DataFrame]:
        assert kind is TRANSACTIONS
        events = _typed(self.log)
        events = events[(events["received_at"] >= start) & (events["received_at"] < end)]
        return (events[place : place + 2] for place in range(0, len(events), 2))


def restore(features: StreamedFeatures, at: pd.Timestamp) -> None:
    """Restore features to the end."""
    for _ in features.restore(at.to_pydatetime()):
        pass


def _typed(events: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Events as the consumer has them; all that this file makes are valid."""
    frame = pd.DataFrame(events, columns=list(TRANSACTIONS.schema.columns))
    return frame.assign(**{time: pd.to_datetime(frame[time], utc=True).dt.as_unit("us") for time in TIMES})


def _by_user(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    newest = rows.sort_values("event_at", kind="stable").drop_duplicates("user_id", keep="last")
    return {row["user_id"]: {str(name): value for name, value in row.items()} for row in newest.to_dict("records")}


WAITS = st.sampled_from([0 * SECOND, INSTANT, SECOND, HOUR, HOUR + INSTANT, DAY, DAY + INSTANT, 2 * DAY, 7 * DAY])
LATENESS = st.one_of(
    st.sampled_from([0 * SECOND, INSTANT, SECOND, HOUR, DAY, CATCH_UP]), st.integers(0, 604_800).map(SECOND.__mul__)
)
ARRIVALS = st.tuples(st.sampled_from(USERS), LATENESS, st.integers(0, 25), st.sampled_from(["US", "GB", None]))
STEPS = st.lists(st.tuples(st.lists(ARRIVALS, max_size=4), WAITS, st.booleans()), min_size=1, max_size=8)


@settings(max_examples=20, deadline=None)
@given(STEPS)
def test_online_is_always_the_newest_row_of_the_partitions(
    steps: list[tuple[list[tuple[str, timedelta, int, str | None]], timedelta, bool]],
) -> None:
    stream, now = Stream(), NOON
    for arrivals, wait, dies in steps:
        events = [
            payment(now - late, number, user_id=user, country=country) for user, late, number, country in arrivals
        ]
        # A sender repeats an event as it was, so of one id there is one event.
        known = {event["event_id"]: event for event in reversed([*stream.log, *events])}
        stream.receive([known[event["event_id"]] for event in events])
        if dies:
            stream.start(now)
        now += wait
        stream.advance(now)
        assert stream.online == stream.expected(now)


def test_an_event_is_online_as_soon_as_its_stamp_has_passed_and_not_before() -> None:
    stream = Stream()
    stream.receive([payment(NOON)])
    assert stream.advance(NOON) == 0
    assert stream.advance(NOON + INSTANT) == 1
    assert stream.online["user-00042"]["payments_1h"] == 1


@pytest.mark.parametrize("wait", [HOUR, DAY, 7 * DAY])
def test_an_event_leaves_a_window_though_nothing_else_happens(wait: timedelta) -> None:
    stream = Stream()
    stream.receive([payment(NOON)])
    stream.advance(NOON + wait)
    before = dict(stream.online["user-00042"])
    assert stream.advance(NOON + wait + INSTANT) == 1
    after = stream.online["user-00042"]
    assert before["payments_7d"] + before["payments_24h"] + before["payments_1h"] == 1 + sum(
        after[name] for name in ("payments_7d", "payments_24h", "payments_1h")
    )


def test_a_tick_without_change_writes_nothing() -> None:
    stream = Stream()
    stream.receive([payment(NOON)])
    stream.advance(NOON + SECOND)
    writes = stream.writes
    for tick in range(2, 30):
        assert stream.advance(NOON + tick * SECOND) == 0
    assert stream.writes == writes


def test_only_the_entities_that_changed_are_written() -> None:
    stream = Stream()
    stream.receive([payment(NOON, n, user_id=user) for n, user in enumerate(USERS)])
    assert stream.advance(NOON + SECOND) == len(USERS)
    stream.receive([payment(NOON + SECOND, 9, user_id=USERS[0])])
    assert stream.advance(NOON + 2 * SECOND) == 1


def test_an_event_that_comes_late_corrects_the_row_that_was_written_without_it() -> None:
    stream = Stream()
    stream.receive([payment(NOON + SECOND, 1)])
    stream.advance(NOON + 2 * SECOND)
    written = stream.online["user-00042"]
    stream.receive([payment(NOON, 2)])
    assert stream.advance(NOON + 2 * SECOND) == 1
    corrected = stream.online["user-00042"]
    assert corrected["event_at"] == written["event_at"]
    assert (written["payments_1h"], corrected["payments_1h"]) == (1, 2)


def test_an_event_received_twice_counts_once() -> None:
    stream = Stream()
    stream.receive([payment(NOON), payment(NOON)])
    stream.receive([payment(NOON)])
    stream.advance(NOON + SECOND)
    assert stream.online["user-00042"]["payments_1h"] == 1


def test_what_could_not_be_written_is_written_with_the_next_advance() -> None:
    stream, is_down = Stream(), True
    wrote: list[str] = []

    def write(view: FeatureView, rows: pd.DataFrame) -> int:
        if is_down:
            raise ConnectionError("the online store is away")
        wrote.extend(rows["user_id"])
        return len(rows)

    features = StreamedFeatures(FRAUD, write, stream._history)
    restore(features, NOON)
    features.add(TRANSACTIONS, _typed([payment(NOON)]))
    with pytest.raises(ConnectionError):
        features.advance((NOON + SECOND).to_pydatetime())
    is_down = False
    features.advance((NOON + 2 * SECOND).to_pydatetime())
    assert wrote == ["user-00042"]


def test_what_became_due_while_no_consumer_ran_is_written_by_the_next_one() -> None:
    stream = Stream()
    stream.receive([payment(NOON)])
    stream.advance(NOON + SECOND)
    later = NOON + DAY + SECOND
    stream.start(later)
    assert stream.advance(later) == 1
    assert stream.online == stream.expected(later)


def test_old_events_are_forgotten_and_nothing_changes_by_it() -> None:
    stream, now = Stream(), NOON
    for day in range(40):
        stream.receive([payment(now, day)])
        now += DAY
        stream.advance(now)
    assert stream.online == stream.expected(now)
    kept = stream.features._recent.entities(VELOCITY, [timedelta(0)], datetime(1970, 1, 1, tzinfo=UTC), NOON + 18 * DAY)
    assert kept == set()


def test_a_view_that_reads_what_no_stream_brings_is_refused_at_the_start() -> None:
    sql = VELOCITY.sql.replace("FROM transactions", "FROM chargebacks")
    use_case = replace(FRAUD, views=(replace(VELOCITY, sql=sql),))
    with pytest.raises(duckdb.CatalogException, match="chargebacks"):
        StreamedFeatures(use_case, lambda *_: 0, lambda *_: [])


def test_the_online_store_takes_a_correction_under_the_same_stamp(tmp_path: Path) -> None:
    store, stream = FeastStore(Layout(tmp_path), Path("feature_repo"), FRAUD), Stream()
    store.apply()
    features = StreamedFeatures(FRAUD, store.write_online, stream._history)
    restore(features, NOON)
    for n, received_at in enumerate((NOON + SECOND, NOON)):
        features.add(TRANSACTIONS, _typed([payment(received_at, n)]))
        assert features.advance((NOON + 2 * SECOND).to_pydatetime()) == {"user_velocity": 1}
        row = store.online().read([{"user_id": "user-00042"}])[0]["user_velocity"]
        assert (row.event_at, row.values["payments_1h"]) == (NOON + SECOND + INSTANT, n + 1)
