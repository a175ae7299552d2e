"""A label file is read in any of its formats alike, or refused as a whole with its name and what is wrong."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shadow_platform.adapters.lake import label_files
from shadow_platform.adapters.lake.label_files import Chunk, Format, content_hash, format_of, read_chunks
from shadow_platform.contracts.errors import LabelFileError

AT = datetime(2024, 2, 1, tzinfo=UTC)
ROWS = [
    {"visit_id": "a", "requested_at": AT.isoformat(), "label": "true"},
    {"visit_id": "b", "requested_at": AT.isoformat(), "label": "false"},
]


def read(path: Path, kind: Format | None = None) -> list[Chunk]:
    return list(read_chunks(path, kind or format_of(path), "visit_id"))


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet", "labels.jsonl"])
def test_every_format_gives_the_same_rows_under_the_names_of_the_platform(tmp_path: Path, name: str) -> None:
    path, frame = tmp_path / name, pd.DataFrame(ROWS)
    if name.endswith("csv"):
        frame.to_csv(path, index=False)
    elif name.endswith("parquet"):
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="records", lines=True)

    (chunk,) = read(path)

    assert chunk.broken == []
    assert chunk.rows[["row", "subject_id", "label"]].to_dict("records") == [
        {"row": 1, "subject_id": "a", "label": "true"},
        {"row": 2, "subject_id": "b", "label": "false"},
    ]
    assert (chunk.n_rows, chunk.share_read) == (2, 1.0)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_row_numbers_go_on_from_chunk_to_chunk(tmp_path: Path, kind: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_files, "CHUNK_ROWS", 3)
    path, frame = tmp_path / "labels", pd.DataFrame(ROWS * 4)
    {
        "csv": lambda: frame.to_csv(path, index=False),
        "jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        "parquet": lambda: frame.to_parquet(path),
    }[kind]()

    assert [chunk.rows["row"].tolist() for chunk in read(path, kind)] == [[1, 2, 3], [4, 5, 6], [7, 8]]


def test_a_line_with_too_few_or_too_many_fields_costs_that_line(tmp_path: Path) -> None:
    path = written(tmp_path, "labels.csv", "visit_id,requested_at,label\na,x\nb,x,1\n\nc,x,1,2\n")

    (chunk,) = read(path)

    assert chunk.rows["row"].tolist() == [2]
    assert [(f.row, f.column, f.reason) for f in chunk.broken] == [
        (1, None, "has 2 fields, the header has 3"),
        (3, None, "has 4 fields, the header has 3"),
    ]


def test_a_line_that_is_no_json_object_of_known_fields_costs_that_line(tmp_path: Path) -> None:
    good = '{"subject_id": "a", "requested_at": "x", "label": true}'
    later = '{"subject_id": "a", "requested_at": "x", "label": true, "known_at": "y"}'
    misspelt = '{"subject_id": "a", "requested_at": "x", "label": true, "knownat": "y"}'
    text = "\n".join([good, "[1]", "{", later, misspelt]).encode() + b'\n{"label": "\xe9"}\n'

    (chunk,) = read(written(tmp_path, "labels.jsonl", text))

    assert chunk.rows["row"].tolist() == [1, 4]
    assert chunk.rows["known_at"].tolist() == [None, "y"]
    reasons = {fault.row: (fault.column, fault.reason) for fault in chunk.broken}
    assert reasons[2] == (None, "is no JSON object; expected one object a line")
    assert reasons[3][1].startswith("is not JSON in UTF-8")
    assert reasons[5][0] == "knownat"
    assert reasons[6][1].startswith("is not JSON in UTF-8")


def test_bytes_in_another_encoding_reach_the_row_that_holds_them(tmp_path: Path) -> None:
    path = written(tmp_path, "labels.csv", b"visit_id,requested_at,label\nJos\xe9,x,1\nb,x,1\n")

    (chunk,) = read(path)

    assert chunk.rows["subject_id"].tolist() == ["Jos\udce9", "b"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = written(tmp_path, "labels.csv", b"\xef\xbb\xbfvisit_id,requested_at,label\na,x,1\n")

    assert read(path)[0].columns == ["subject_id", "requested_at", "label"]


def test_integers_with_gaps_stay_integers(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    keys = pd.array([1, None], dtype="Int64")
    pd.DataFrame({"subject_id": keys, "requested_at": [AT, AT], "label": [True, None]}).to_parquet(path)

    (chunk,) = read(path)

    assert chunk.rows["subject_id"].tolist() == [1, None]
    assert chunk.rows["label"].tolist() == [True, None]
    assert str(chunk.rows["requested_at"].dtype).endswith("UTC]")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", r"empty.csv holds no rows; expected columns subject_id, requested_at, label"),
        ("header.csv", b"visit_id,requested_at,label\n", "header.csv holds no rows"),
        ("empty.jsonl", b"\n\n", "empty.jsonl holds no rows"),
        ("missing.csv", b"visit_id,label\na,1\n", "missing.csv: column 'requested_at' is missing"),
        ("extra.csv", b"visit_id,requested_at,label,knownat\n", r"extra.csv: column 'knownat' is unknown; expected"),
        ("twice.csv", b"visit_id,subject_id,requested_at,label\n", "column 'subject_id' is there more than once"),
        ("missing.jsonl", b'{"subject_id": "a", "label": true}\n', "column 'requested_at' is missing"),
        ("wide.csv", "visit_id,label\n".encode("utf-16"), "wide.csv is UTF-16 text; expected UTF-8"),
        (
            "open.csv",
            b'visit_id,requested_at,label\n"' + b"a" * 200_000,
            "open.csv: line .* cannot be read: field larger",
        ),
        (
            "array.jsonl",
            b'[{"subject_id": "a"},\n{"subject_id": "b"}]\n',
            "array.jsonl is not JSON lines .*; write one",
        ),
        ("array.jsonl", b'\n  [\n{"subject_id": "b"}\n]\n', "array.jsonl is not JSON lines"),
        ("pretty.jsonl", b'{\n  "subject_id": "a"\n}\n', "pretty.jsonl is not JSON lines"),
        ("noise.parquet", b"PAR1 and no more", "noise.parquet is no whole Parquet file"),
        ("empty.parquet", b"", "empty.parquet is no whole Parquet file"),
    ],
)
def test_a_file_that_cannot_be_imported_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(LabelFileError, match=message):
        read(written(tmp_path, name, content))


def test_a_parquet_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    pd.DataFrame(ROWS * 1_000).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(LabelFileError, match=r"labels\.parquet is no whole Parquet file"):
        read(path)


@pytest.mark.parametrize(
    ("name", "values"),
    [("label", [[True], None]), ("subject_id", [{"id": "a"}, {"id": "b"}]), ("known_at", [[AT], []])],
)
def test_a_parquet_column_of_lists_or_records_is_refused_by_name(tmp_path: Path, name: str, values: list[Any]) -> None:
    columns = {"subject_id": ["a", "b"], "requested_at": [AT, AT], "label": [True, False]} | {name: values}
    path = tmp_path / "labels.parquet"
    pq.write_table(pa.table(columns), path)

    with pytest.raises(
        LabelFileError, match=rf"labels.parquet: column '{name}' holds (list|struct).*; expected one value"
    ):
        read(path)


def test_an_unknown_extension_or_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LabelFileError, match=r"labels.xlsx: extension '.xlsx' is none of .csv, .*; give --format"):
        format_of(tmp_path / "labels.xlsx")
    with pytest.raises(LabelFileError, match=r"labels.csv cannot be read: No such file"):
        content_hash(tmp_path / "labels.csv")
