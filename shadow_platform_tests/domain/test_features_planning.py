"""What is due is told from what was made of what: the days a late event touches, and no other."""

from dataclasses import replace
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.contracts.partition_records import SourceState
from shadow_platform.domain.features import (
    due_days,
    inputs_fingerprint,
    inputs_read,
    kinds_read,
    late_days,
    newly_misshapen,
    reach_days,
    stale_days,
)
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE

VIEW = USE_CASE.views[0]
DAYS = [FIRST_DAY + timedelta(days=n) for n in range(30)]
VERSIONS = {kind.name: {day: f"{kind.name} of {day}" for day in DAYS} for kind in USE_CASE.events}


def made(versions: dict[str, dict[date, str]]) -> dict[date, str]:
    return {day: inputs_fingerprint(VIEW, day, versions) for day in DAYS}


def test_a_view_reaches_as_many_days_back_as_its_lookback_touches() -> None:
    lookbacks = {timedelta(hours=1): 1, timedelta(days=1): 1, timedelta(hours=25): 2, timedelta(days=7): 7}
    for lookback, days in lookbacks.items():
        assert reach_days(replace(VIEW, lookback=lookback)) == days


@given(st.integers(0, 29), st.sampled_from(sorted(VERSIONS)), st.integers(1, 20 * 24))
def test_a_changed_day_of_events_is_due_for_its_day_and_those_it_reaches(place: int, kind: str, hours: int) -> None:
    view = replace(VIEW, lookback=timedelta(hours=hours))
    before = {day: inputs_fingerprint(view, day, VERSIONS) for day in DAYS}
    assert due_days(view, VERSIONS, before) == []
    changed = {**VERSIONS, kind: {**VERSIONS[kind], DAYS[place]: "changed"}}
    assert due_days(view, changed, before) == DAYS[place : place + reach_days(view) + 1]


def test_days_that_were_never_made_are_not_due() -> None:
    changed = {**VERSIONS, "visits": {**VERSIONS["visits"], DAYS[3]: "changed"}}
    some = {day: inputs for day, inputs in made(VERSIONS).items() if day != DAYS[5]}
    assert due_days(VIEW, changed, some) == [DAYS[n] for n in (3, 4, 6, 7, 8, 9, 10, 11)]


def test_misshapen_events_are_new_to_the_days_that_reach_them_until_these_were_made_with_them() -> None:
    misshapen = {"visits": {DAYS[6]: "broken"}, "purchases": {}}
    reaching = [day for day in DAYS if newly_misshapen(VIEW, day, misshapen, ())]
    assert reaching == DAYS[6 : 6 + reach_days(VIEW) + 1]
    accepted = inputs_read(VIEW, DAYS[7], misshapen)
    assert accepted == [("visits", str(DAYS[6]), "broken")]
    assert newly_misshapen(VIEW, DAYS[7], misshapen, accepted) == []
    again = {"visits": {DAYS[6]: "broken otherwise", DAYS[5]: "broken"}}
    assert len(newly_misshapen(VIEW, DAYS[7], again, accepted)) == 2


def test_what_was_brought_elsewhere_is_stale_when_it_was_made_again_and_not_when_it_is_gone() -> None:
    brought = dict.fromkeys(DAYS[:4], "rows")
    rows_now = {DAYS[1]: "rows", DAYS[3]: "others", DAYS[2]: "others", DAYS[9]: "others"}
    assert stale_days(brought, rows_now) == [DAYS[2], DAYS[3]]


def test_a_new_day_of_events_touches_no_earlier_day() -> None:
    grown = {kind: {**of, DAYS[-1] + timedelta(days=1): "new"} for kind, of in VERSIONS.items()}
    assert due_days(VIEW, grown, made(VERSIONS)) == []


def test_only_kinds_that_the_sql_names_count() -> None:
    view = replace(VIEW, sql="SELECT * FROM visits -- purchases_7d is another word")
    assert [kind.name for kind in kinds_read(view, USE_CASE.events)] == ["visits"]


def test_a_file_is_late_by_what_it_holds_and_a_stream_by_what_it_grew() -> None:
    known = SourceState(n_bytes=10, mtime_ns=5, sha256="a", stream_bytes=7)
    found = {
        DAYS[0]: known.model_copy(update={"mtime_ns": 9}),
        DAYS[1]: known.model_copy(update={"sha256": "b"}),
        DAYS[2]: known.model_copy(update={"stream_bytes": 8}),
    }
    assert late_days(dict.fromkeys(DAYS, known), found) == [DAYS[1], DAYS[2]]


def test_a_day_changed_when_its_file_or_a_segment_was_last_written() -> None:
    state = SourceState(n_bytes=10, mtime_ns=5, sha256="a", stream_bytes=7, stream_mtime_ns=4)
    assert state.changed_at_ns == 5
    assert state.model_copy(update={"stream_mtime_ns": 6}).changed_at_ns == 6
