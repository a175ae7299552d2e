"""Values of files: what converts is exact, what does not stays as it was, and nothing is refused here."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.use_case_kit.files.values import converter, utc_time

DTYPES = ["float64", "int64", "UInt8", "bool", "str", "datetime64[us, UTC]"]
OF_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


@given(value=OF_JSON, dtype=st.sampled_from(DTYPES))
def test_whatever_a_file_holds_json_holds_afterwards(value: Any, dtype: str) -> None:
    converted = converter(dtype)(value)
    assert json.loads(json.dumps(converted, allow_nan=False)) == converted


@given(value=OF_JSON)
@pytest.mark.parametrize("dtype", ["float64", "int64", "str"])
def test_only_texts_and_numbers_are_converted(dtype: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        assert converter(dtype)(value) is value


@given(number=st.integers())
def test_a_whole_number_is_exact_however_it_is_written(number: int) -> None:
    assert converter("int64")(number) == converter("int64")(str(number)) == converter("int64")(f" {number} ") == number


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_the_same_as_text(number: float) -> None:
    assert converter("float64")(repr(number)) == converter("float64")(number) == number


@pytest.mark.parametrize("text", ["1_000", "٣", "0x10", "inf", "nan", "1e999", "", "1,5", "12 €", "9" * 5_000])
def test_what_is_no_number_of_json_stays_text(text: str) -> None:
    assert converter("float64")(text) == converter("int64")(text) == text


@pytest.mark.parametrize(("written", "number"), [("1e+05", 100_000), ("2.0", 2), (2.0, 2), ("2.5", "2.5"), (2.5, 2.5)])
def test_a_whole_number_may_be_written_as_a_float(written: object, number: object) -> None:
    assert converter("int64")(written) == number


@given(moment=st.datetimes(timezones=st.timezones() | st.just(UTC)), separator=st.sampled_from("T "))
def test_a_time_is_the_same_instant_in_utc(moment: datetime, separator: str) -> None:
    written = moment.isoformat(separator)
    try:
        expected = datetime.fromisoformat(written).astimezone(UTC)
    except OverflowError:
        assert utc_time(written) is None
        return
    assert utc_time(written) == expected
    assert utc_time(converter("datetime64[us, UTC]")(written)) == expected


@given(value=OF_JSON)
def test_what_is_no_time_stays_as_it_was(value: Any) -> None:
    assert utc_time(value) is not None or converter("datetime64[us, UTC]")(value) is value


def test_a_number_is_finite_or_stays_as_it_was() -> None:
    assert converter("float64")(10**400) == 10**400
    assert math.isinf(converter("float64")(math.inf))
