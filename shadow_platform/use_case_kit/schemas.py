"""Columns and schemas of events: what a payload may hold, said in a line a column.

Belongs here: pandera columns. Does not belong here: parsing and quarantine (the events stage). Upstream: pandera.
Downstream: the ``events`` module of every use case.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import pandera.pandas as pa

UTC_MICROSECONDS = pd.DatetimeTZDtype(unit="us", tz="UTC")
ID_PATTERN = r"^\S{1,64}$"


def text(pattern: str = ID_PATTERN, description: str | None = None, *, nullable: bool = False) -> pa.Column:
    """Text that matches a regular expression; by default an id without white space."""
    return pa.Column(str, pa.Check.str_matches(pattern), coerce=True, nullable=nullable, description=description)


def one_of(levels: Sequence[str], description: str | None = None, *, nullable: bool = False) -> pa.Column:
    """One of some texts."""
    return pa.Column(str, pa.Check.isin(levels), coerce=True, nullable=nullable, description=description)


def whole(low: float, high: float, description: str | None = None) -> pa.Column:
    """Whole number in a closed range."""
    return pa.Column("int64", pa.Check.in_range(low, high), coerce=True, description=description)


def measured(low: float, high: float, description: str | None = None, *, nullable: bool = True) -> pa.Column:
    """Number in a closed range, or none."""
    return pa.Column("float64", pa.Check.in_range(low, high), nullable=nullable, coerce=True, description=description)


def flag(description: str | None = None) -> pa.Column:
    """True or false."""
    return pa.Column("bool", coerce=True, description=description)


def moment(description: str | None = None) -> pa.Column:
    """Time in UTC, to the microsecond."""
    return pa.Column(UTC_MICROSECONDS, coerce=True, description=description)


def event_schema(payload: Mapping[str, pa.Column]) -> pa.DataFrameSchema:
    """Schema of one kind of event: id and times, then the payload."""
    times = {"event_at": moment("when it happened"), "received_at": moment("when the platform could know it")}
    return pa.DataFrameSchema({"event_id": text(description="id of the event"), **times, **payload})
