"""Rules of the event source: raw rows as the events stage takes them, the same each time.

Belongs here: rules of raw rows. Does not belong here: rules of SQL. Upstream: small_world. Downstream: the contract.
"""

import json
from datetime import date, datetime, timedelta

from shadow_platform.domain.events import parse_events
from shadow_platform.testing.rules import Rules
from shadow_platform.testing.small_world import SmallWorld

MAX_REFUSED_SHARE = 0.01
TIMES = {"event_id", "event_at", "received_at"}


class SourceRules(Rules):
    """Events are what their schema says, and come again as they came."""

    def test_raw_rows_are_json_of_their_receipt_day(self, world: SmallWorld) -> None:
        for day in (world.days[3], world.days[-1]):
            batches = world.source.received_on(day)
            assert set(batches) == {kind.name for kind in self.use_case.events}
            for kind in self.use_case.events:
                for row in batches[kind.name]:
                    assert json.loads(json.dumps(row, allow_nan=False)) == row
                    assert datetime.fromisoformat(row["received_at"]).date() == day
                    assert row.keys() == {*kind.schema.columns, "schema_version"}

    def test_the_events_stage_accepts_the_rows(self, world: SmallWorld) -> None:
        n_rows, n_refused, reasons = 0, 0, set[str]()
        for day in world.days[:: max(1, world.n_days // 5)]:
            for kind in self.use_case.events:
                lines = "".join(f"{json.dumps(row)}\n" for row in world.source.received_on(day)[kind.name])
                parsed = parse_events(lines.encode(), kind, f"{kind.name}.jsonl", day)
                n_rows, n_refused = n_rows + parsed.n_rows, n_refused + parsed.n_quarantined
                reasons |= {f"{kind.name}.{event.column}: {event.reason}" for event in parsed.quarantined}
        assert n_rows > 0
        assert n_refused <= MAX_REFUSED_SHARE * n_rows, sorted(reasons)[:20]

    def test_the_source_is_deterministic_and_ends(self, world: SmallWorld) -> None:
        source, day = world.source, world.days[1]
        again = world.simulation.simulator(world.plan()) if self.use_case.simulation else self.use_case.source()
        assert source.received_on(day) == again.received_on(day)
        assert source.first_day() <= self.use_case.first_partition <= source.last_day()
        assert not any(source.received_on(date(1999, 1, 1)).values())
        assert not any(source.received_on(source.last_day() + timedelta(days=400)).values())

    def test_every_kind_of_event_comes_and_few_are_refused(self, world: SmallWorld) -> None:
        for kind in self.use_case.events:
            frame = world.tables[kind.name]
            assert list(frame.columns) == list(kind.schema.columns)
            assert set(frame.columns) >= TIMES
            assert len(frame) > 0
            assert len(frame) >= (1 - MAX_REFUSED_SHARE) * len(world.rows[kind.name])
            assert (frame["event_at"] <= frame["received_at"]).all()
