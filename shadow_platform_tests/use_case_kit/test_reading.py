"""Lines that are no rows cost no other: quotes that are never closed, lines without end."""

import csv
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.use_case_kit.files import reading
from shadow_platform.use_case_kit.files.reading import Unreadable, rows

QUOTE_OPENERS = {"a field limit": ('0,"x', 50_000), "a record limit": ('x","a', 50_000), "the end": ('0,"x', 100)}


@pytest.mark.parametrize(("opener", "n_good"), QUOTE_OPENERS.values(), ids=QUOTE_OPENERS)
def test_a_quote_that_is_never_closed_costs_its_own_line_alone(tmp_path: Path, opener: str, n_good: int) -> None:
    good = [f"{n},{'y' * 20}" for n in range(n_good)]
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(["a,b", good[0], opener, *good[1:]]), encoding="utf-8")
    found = list(rows(path))
    assert [row for row, _ in found] == list(range(1, n_good + 2))
    unreadable = found.pop(1)[1]
    assert isinstance(unreadable, Unreadable)
    assert (unreadable.why[:8], unreadable.text) == ("not CSV:", f"{opener}\n")
    assert [f"{values['a']},{values['b']}" for _, values in found if isinstance(values, dict)] == good


def test_stray_quotes_cost_no_row_between_them(tmp_path: Path) -> None:
    stray = ['0,"x', '0,"x"y', '"x', '0,"x","'] * 100
    good = [(str(n), f"{n}\n{n}") for n in range(len(stray))]
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(["a,b", *(f'{line}\n{a},"{b}"' for line, (a, b) in zip(stray, good, strict=True))]))
    found = [values for _, values in rows(path)]
    assert [tuple(values.values()) for values in found if isinstance(values, dict)] == good
    assert [values.text for values in found if isinstance(values, Unreadable)] == [f"{line}\n" for line in stray]


def test_a_file_full_of_quotes_that_are_not_closed_is_read_a_bounded_number_of_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_RECORD_BYTES", 1 << 14)
    n_lines, counted = 20_000, CountedLines()
    path = tmp_path / "pairs.csv"
    path.write_text("a,b\n" + 'x","a\n' * n_lines, encoding="utf-8")
    monkeypatch.setattr(csv, "reader", counted.reader)
    assert sum(isinstance(values, Unreadable) for _, values in rows(path)) == n_lines
    assert counted.n < 2 * (reading.MAX_READS + 1) * n_lines


class CountedLines:
    """A CSV reader that counts the lines it is given."""

    def __init__(self) -> None:
        self.n = 0
        self._read = csv.reader

    def reader(self, lines: Iterator[str], *, strict: bool) -> Iterator[list[str]]:
        return self._read(map(self._counted, lines), strict=strict)

    def _counted(self, line: str) -> str:
        self.n += 1
        return line


@given(st.lists(st.tuples(*[st.text(st.sampled_from('aé",\r\n \u2028'), min_size=1, max_size=6)] * 2), max_size=8))
def test_values_in_quotes_may_span_lines_and_hold_quotes(table: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *table])
        assert list(rows(path)) == [(row, {"a": a, "b": b}) for row, (a, b) in enumerate(table, start=1)]


def test_a_value_of_thousands_of_lines_is_one_value(tmp_path: Path) -> None:
    value = "a line of some length\n" * 5_000
    path = tmp_path / "pairs.csv"
    path.write_text(f'a,b\n1,"{value}"\n2,z\n', encoding="utf-8")
    assert list(rows(path)) == [(1, {"a": "1", "b": value}), (2, {"a": "2", "b": "z"})]


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.jsonl"])
@pytest.mark.parametrize("n_over", [0, 1, reading.MAX_RECORD_BYTES])
def test_a_line_over_the_limit_is_no_row_however_good_its_beginning(tmp_path: Path, name: str, n_over: int) -> None:
    lines = {"pairs.csv": ["a,b", "1,2{}", "3,4"], "pairs.jsonl": ['{{"a": 1}}{}', '{{"a": 3}}']}[name]
    *header, long, last = lines
    long = long.format(" " * (reading.MAX_RECORD_BYTES + n_over - len(long.format("")) - 1))
    path = tmp_path / name
    path.write_text("\n".join([*header, long, last.format()]), encoding="utf-8")
    (first, values), (second, _) = rows(path)
    assert (first, second) == (1, 2)
    is_too_long = isinstance(values, Unreadable) and values.why == "longer than 1 MiB"
    assert is_too_long == (n_over > 0)
