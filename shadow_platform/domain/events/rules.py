"""What the values of a row must obey beyond their types: the order of times, the day of the file, the kind's schema.

Belongs here: rules on single rows. Does not belong here: what takes other rows (repeated keys, the lake). Upstream:
decoding. Downstream: sorting.
"""

from datetime import UTC, date, datetime, time, timedelta

import pandas as pd

from shadow_platform.contracts.errors import EventFileError
from shadow_platform.domain.events.faults import Faults
from shadow_platform.domain.events.form import RowForm

MAX_ROUNDS = 5
_CASE = ("index", "schema_context", "column", "check", "failure_case")


def check_times(frame: pd.DataFrame, received_on: date, now: datetime, faults: Faults) -> None:
    """Refuse rows whose times contradict each other, the day of their file, or the clock."""
    event_at, received_at = frame["event_at"], frame["received_at"]
    start = pd.Timestamp(datetime.combine(received_on, time.min, tzinfo=UTC))
    for row in frame.index[(event_at > received_at).to_numpy()]:
        times = f"{event_at[row].isoformat()} > {received_at[row].isoformat()}"
        faults.refuse(
            int(row), "event_at", f"event_at is after received_at: {times}; nothing is received before it happens"
        )
    if frame.empty or start <= received_at.min() <= received_at.max() < min(start + timedelta(days=1), now):
        return
    for row in frame.index[((received_at < start) | (received_at >= start + timedelta(days=1))).to_numpy()]:
        times = f"{received_at[row].isoformat()} is not on {received_on}"
        faults.refuse(
            int(row), "received_at", f"received_at is not on the file's day: {times}; put it into the file of its day"
        )
    for row in frame.index[(received_at > now).to_numpy()]:
        times = f"{received_at[row].isoformat()}, and it is {now.isoformat()}"
        faults.refuse(int(row), "received_at", f"received_at lies in the future: {times}; check the sender's clock")


def check_schema(frame: pd.DataFrame, form: RowForm, file: str, faults: Faults) -> pd.DataFrame:
    """Rows that pass the kind's schema, in its types; the others are refused.

    Raises:
        EventFileError: the schema holds a check that is not one on single rows.
    """
    import pandera.errors

    columns = list(form.json_types)
    for _ in range(MAX_ROUNDS):
        if frame.empty:
            break
        try:
            validated: pd.DataFrame = form.checks_for(frame).validate(frame, lazy=True)
            return validated[columns]
        except pandera.errors.SchemaErrors as error:
            cases = error.failure_cases
        located = cases[cases["index"].isin(frame.index)]
        if located.empty:
            break
        _refuse(located, faults)
        frame = frame.drop(index=list(faults.rows & set(frame.index)))
    return _checked_singly(frame, form, file, faults)


def _checked_singly(frame: pd.DataFrame, form: RowForm, file: str, faults: Faults) -> pd.DataFrame:
    """As ``check_schema``, for failures that name no row: each row is checked alone."""
    import pandera.errors

    for row in frame.index:
        try:
            form.checks.validate(frame.loc[[row]], lazy=True)
        except pandera.errors.SchemaErrors as error:
            _refuse(error.failure_cases.assign(index=row), faults)
    try:
        sound = frame.drop(index=list(faults.rows & set(frame.index)))
        validated: pd.DataFrame = form.checks.validate(sound, lazy=True)
    except pandera.errors.SchemaErrors as error:
        raise EventFileError(
            f"{file}: rows pass the schema of {form.kind.name!r} one by one but not together: {error}; "
            "declare checks on single rows only"
        ) from error
    return validated[list(form.json_types)]


def _refuse(cases: pd.DataFrame, faults: Faults) -> None:
    """Note pandera's failure cases; a check over columns is a fault of the row as a whole."""
    for row, context, column, check, found in zip(*(cases[name] for name in _CASE), strict=True):
        if context == "DataFrameSchema" or column in (None, ""):
            faults.refuse(int(row), None, f"failed {check}")
        else:
            faults.refuse(int(row), str(column), f"failed {check}, found {found!r:.80}")
