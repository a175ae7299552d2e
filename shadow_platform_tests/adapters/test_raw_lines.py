"""Lines that came later are added to a raw file, and what it holds stays."""

import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow_platform.adapters.lake.raw import add_lines
from shadow_platform.contracts.errors import EventFileError

lines = st.lists(st.sampled_from([b"a", b"b", b'{"c": 1}', b"\xff", b"d" * 50]), max_size=8)


@settings(max_examples=60, deadline=None)
@given(lines, lines, st.booleans())
def test_a_file_keeps_its_content_and_comes_to_hold_every_line_as_often_as_given(
    held: list[bytes], given: list[bytes], is_torn: bool
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "dt=2024-01-01" / "events.jsonl"
        path.parent.mkdir()
        before = b"\n".join(held) + (b"\n" if held and not is_torn else b"")
        path.write_bytes(before)
        missing = Counter(given) - Counter(held)

        added = add_lines(path, given)

        assert (added or 0) == missing.total()
        assert path.read_bytes().startswith(before)
        assert Counter(path.read_bytes().split(b"\n")) - Counter([b""]) == Counter(held) + missing - Counter([b""])
        changed_at = path.stat().st_mtime_ns
        assert add_lines(path, given) is None
        assert path.stat().st_mtime_ns == changed_at


def test_a_day_without_lines_gets_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "dt=2024-01-01" / "events.jsonl"

    assert add_lines(path, []) == 0
    assert path.read_bytes() == b""
    assert add_lines(path, []) is None


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "dt=2024-01-01").write_bytes(b"no folder")
    path = tmp_path / "dt=2024-01-01" / "events.jsonl"

    with pytest.raises(EventFileError, match=re.escape(f"raw event file {path} could not be written, it is as before")):
        add_lines(path, [b"a"])
