"""What people bring as files: read as meant, or refused in one line that names the fault."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.cli.drift import Wanted, compare_files
from shadow_platform.cli.drift.columns import columns_of, expressions, extent_of, with_foreign_values
from shadow_platform.cli.drift.comparing import Side
from shadow_platform.cli.drift.config import FilesConfig
from shadow_platform.cli.drift.files import DataFile, open_file
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.monitoring_verdicts import DriftVerdict
from shadow_platform_tests.domain.drift.frames import frame


def _file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _read(path: Path, config: FilesConfig | None = None) -> tuple[pd.DataFrame, dict[str, str]]:
    """Rows as they are compared, and the kind of every feature."""
    config = config or FilesConfig()
    file = open_file(path)
    columns = columns_of(file, config)
    rows = pd.concat(map(with_foreign_values, file.batches(expressions(file, columns, config))), ignore_index=True)
    return rows, {feature.name: feature.kind for feature in columns.features}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", "", "is empty"),
        ("more.csv", "a,b\n1,2\n3,4,5\n", "Line: 3 Original Line: 3,4,5 Expected Number of Columns: 2 Found: 3"),
        ("fewer.csv", "a,b\n1,2\n3\n", "Expected Number of Columns: 2 Found: 1"),
        ("latin.csv", "a,stadt\n1,Köln\n".encode("latin-1"), "in UTF-8"),
        ("latin_below.csv", b"a,b\n" + b"1,x\n" * 5_000 + "2,Köln\n".encode("latin-1"), "in UTF-8"),
        ("utf16.csv", "a,b\n1,2\n".encode("utf-16"), "the header cannot be read"),
        ("twice.csv", "a,b,A\n1,2,3\n", "columns 'a', 'A' are one name"),
        ("index.csv", ",a,b\n0,1,2\n", "holds an empty name (an index?)"),
        ("quote.csv", 'a,b\n1,"x\n2,3\n', "cannot be read"),
        ("magic.parquet", b"PAR1 no", "cannot be read as Parquet"),
        ("text.parquet", "a,b\n1,2\n", "cannot be read as Parquet"),
        ("times.csv", "a,requested_at\n1,2024-05-01T00:00:00Z\n2,soon\n3,\n", "2 of 3 rows have no readable time"),
        ("text.csv", "a,score\n1,0.5\n2,high\n3,\n", "1 of 3 rows have text in the score column 'score'"),
        ("weight.csv", "a,weight\n1,0\n2,heavy\n3,\n4,-1\n5,inf\n6,2\n", "4 of 6 rows have no weight in 'weight'"),
        ("nothing.csv", "a,weight\n1,0\n2,0\n", "all 2 weights in 'weight' are 0"),
        ("only_time.csv", "requested_at\n2024-05-01T00:00:00Z\n", "has no column to compare"),
    ],
)
def test_a_file_that_cannot_be_compared_is_refused_in_one_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = _file(tmp_path, name, content)
    with pytest.raises(ShadowPlatformError, match=re.escape(message)) as raised:
        compare_files(path, path)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(ShadowPlatformError, match="is not a file"):
            compare_files(path, path)


def test_two_parquet_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.parquet"
    pq.write_table(pa.table([pa.array([1.0]), pa.array([2.0])], names=["a", "a"]), path)
    with pytest.raises(ShadowPlatformError, match="columns 'a', 'a' are one name"):
        compare_files(path, path)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("score", ["0.5", None], "1 of 2 rows have text in the score column"),
        ("weight", ["1", "2"], "2 of 2 rows have no weight"),
        ("weight", [1.0, np.nan], "1 of 2 rows have no weight"),
    ],
)
def test_scores_and_weights_of_parquet_are_numbers(
    tmp_path: Path, name: str, values: list[object], message: str
) -> None:
    path = tmp_path / "file.parquet"
    pq.write_table(pa.table({"a": [1.0, 2.0], name: values}), path)
    with pytest.raises(ShadowPlatformError, match=message):
        compare_files(path, path)


@pytest.mark.parametrize("name", ["a[1]", "a*", "a?", "day=1/a1"])
@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_a_name_stands_for_one_file_and_for_no_pattern(tmp_path: Path, name: str, extension: str) -> None:
    for value, stem in enumerate(["a1", "ab", name]):
        path = tmp_path / f"{stem}.{extension}"
        path.parent.mkdir(exist_ok=True)
        rows = pd.DataFrame({"x": [float(value)]})
        rows.to_csv(path, index=False) if extension == "csv" else rows.to_parquet(path)
    rows, _ = _read(path)
    assert rows.to_dict("list") == {"x": [2.0]}


def test_files_without_a_column_in_common_are_refused(tmp_path: Path) -> None:
    first, second = _file(tmp_path, "1.csv", "a,b\n1,2\n"), _file(tmp_path, "2.csv", "c,d\n1,2\n")
    with pytest.raises(ShadowPlatformError, match=re.escape("it has c, d; expected a, b")):
        compare_files(first, second)


def test_columns_of_a_csv_are_read_by_what_they_hold(tmp_path: Path) -> None:
    content = "größe;truth;東京;nothing;code\n1.5;true;x;;1\nNA;False;'y';NaN;x\n-inf;;z;null;2\n"
    rows, kinds = _read(_file(tmp_path, "file.csv", "\ufeff" + content))
    assert kinds == {
        "größe": "numeric",
        "truth": "numeric",
        "東京": "categorical",
        "nothing": "numeric",
        "code": "categorical",
    }
    assert rows["truth"].tolist()[:2] == [1.0, 0.0]
    assert rows["größe"].tolist()[:1] == [1.5]
    assert rows["東京"].tolist() == ["x", "'y'", "z"]
    assert rows["nothing"].isna().all()


def test_columns_of_parquet_are_read_by_their_type(tmp_path: Path) -> None:
    path, n = tmp_path / "file.parquet", 400
    rows = pd.DataFrame(
        {
            "whole": range(n),
            "large": [2**62] * n,
            "is_new": [True, False] * (n // 2),
            "level": pd.Categorical(["a", "b"] * (n // 2)),
            "customer": [f"c{i}" for i in range(n)],
            "born": pd.Timestamp("2000-01-01"),
            "tags": [["x"]] * n,
        }
    )
    rows.to_parquet(path)
    columns = columns_of(open_file(path), FilesConfig(kinds={"born": "categorical"}))
    assert {feature.name: feature.kind for feature in columns.features} == {
        "whole": "numeric",
        "large": "numeric",
        "is_new": "numeric",
        "level": "categorical",
        "born": "categorical",
    }
    assert columns.left_out["tags"].startswith("is of type VARCHAR[]")
    assert columns.left_out["customer"].startswith("seems to name its rows")


def test_words_among_numbers_are_wrong_values_and_not_another_type(tmp_path: Path) -> None:
    reference, current, output = tmp_path / "1.csv", tmp_path / "2.csv", tmp_path / "verdict.json"
    frame(1_000, 1).to_csv(reference, index=False)
    rows = frame(1_000, 2)
    rows.assign(n1=rows["n1"].astype(object).mask(rows.index < 300, "unknown")).to_csv(current, index=False)
    assert compare_files(reference, current, wanted=Wanted(output=output)) == 1
    verdict = DriftVerdict.model_validate_json(output.read_text())
    (drifted,) = (row for row in verdict.features if row.feature == "n1")
    assert drifted.null_rate_current == pytest.approx(0.3)
    assert drifted.statistic is not None
    assert drifted.statistic < 0.1


def test_a_changed_type_in_parquet_breaks_the_schema(tmp_path: Path) -> None:
    reference, current = tmp_path / "1.parquet", tmp_path / "2.parquet"
    output = tmp_path / "verdict.json"
    frame(1_000, 1).to_parquet(reference)
    rows = frame(1_000, 2)
    rows.assign(n1=rows["n1"].astype(str)).to_parquet(current)
    assert compare_files(reference, current, wanted=Wanted(output=output)) == 1
    verdict = DriftVerdict.model_validate_json(output.read_text())
    assert "schema" in verdict.rules_fired
    assert {finding.feature for finding in verdict.findings if finding.rule == "schema"} == {"n1"}


def test_a_missing_column_breaks_the_schema_and_a_further_one_does_not(tmp_path: Path) -> None:
    reference, current = tmp_path / "1.csv", tmp_path / "2.csv"
    frame(1_000, 1).to_csv(reference, index=False)
    frame(1_000, 2).assign(more=1).to_csv(current, index=False)
    assert compare_files(reference, current) == 0
    frame(1_000, 2).drop(columns="n1").to_csv(current, index=False)
    assert compare_files(reference, current) == 1


def test_levels_that_look_like_numbers_are_one_level_in_csv_and_parquet(tmp_path: Path) -> None:
    reference, current, config = tmp_path / "1.parquet", tmp_path / "2.csv", tmp_path / "kinds.json"
    config.write_text('{"kinds": {"zip": "categorical"}}')
    zips = np.random.default_rng(0).integers(1, 5, 2_000)
    pd.DataFrame({"zip": zips[:1_000].astype(float)}).to_parquet(reference)
    pd.DataFrame({"zip": zips[1_000:]}).to_csv(current, index=False)
    assert compare_files(reference, current, config=config) == 0


def test_special_columns_may_have_other_names(tmp_path: Path) -> None:
    path = _file(tmp_path, "file.csv", "x,p,at,w\n1,0.5,2024-05-01T02:00:00+02:00,2\n2,0.6,2024-05-02,1\n")
    config = FilesConfig(time_column="at", score_column="p", weight_column="w")
    rows, kinds = _read(path, config)
    assert kinds == {"x": "numeric"}
    assert rows["score"].tolist() == [0.5, 0.6]
    assert rows["weight"].tolist() == [2.0, 1.0]
    assert [at.isoformat() for at in rows["requested_at"]] == ["2024-05-01T00:00:00+00:00", "2024-05-02T00:00:00+00:00"]
    extent = extent_of(open_file(path), config)
    assert (extent.n_rows, extent.start.isoformat()) == (2, "2024-05-01T00:00:00+00:00")


@given(n_rows=st.integers(0, 50), at_most=st.integers(1, 60))
def test_a_sample_holds_every_kth_row_whatever_the_batches(
    tmp_path_factory: pytest.TempPathFactory, n_rows: int, at_most: int
) -> None:
    rows = pd.DataFrame({"x": np.arange(n_rows, dtype=float)})

    class InParts(DataFile):
        def batches(self, expressions):
            return (rows.iloc[start : start + 7] for start in range(0, max(n_rows, 1), 7))

    file = InParts(Path("x.csv"), "", {"x": "DOUBLE"})
    extent = extent_of.__annotations__["return"]
    side = Side(file, extent(n_rows, *[pd.Timestamp(0).to_pydatetime()] * 2), {})
    step = max(1, -(-n_rows // at_most))
    assert side.sample(at_most)["x"].tolist() == rows["x"].tolist()[::step]
