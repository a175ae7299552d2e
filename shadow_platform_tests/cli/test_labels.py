"""``shadow labels import``: what is taken, what is quarantined and why, and that nothing is ever half done."""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from typer.testing import CliRunner, Result

from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.lake.label_staging import ImportReport
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.assets.labels import build_label_assets
from shadow_platform.cli import typer_app
from shadow_platform.cli.importing import land_file
from shadow_platform.contracts.errors import AlreadyRunning, LabelFileError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import (
    GATE_DECISIONS,
    LABELS,
    MODEL_EXPERIMENTS,
    PERFORMANCE_DAILY,
    PREDICTIONS,
    QUARANTINED_LABELS,
)
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.cli.importing import (
    DAYS,
    LATER,
    NAME,
    START,
    corrections,
    first_labels,
    labelled_home,
    materialized,
)
from shadow_platform_tests.conftest import StartProcess
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE

NOW = datetime(2024, 3, 1, tzinfo=UTC)
HELD = """if True:
    import time
    from shadow_platform.adapters.lake.label_staging import LabelStaging
    from shadow_platform.cli import app
    LabelStaging.{step} = lambda _: time.sleep(600)
    app()
"""
"""The command, which never gets over one step of an import."""
Land = Callable[..., ImportReport]
Shadow = Callable[..., Result]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with labels."""
    return labelled_home(tmp_path_factory.mktemp("labelled") / "home")


@pytest.fixture
def lake(template: Path, layout: Layout) -> Lake:
    """The home, as a copy that a test may change."""
    shutil.copytree(template, layout.home)
    return Lake(layout)


@pytest.fixture
def labels(lake: Lake) -> pd.DataFrame:
    """What the events tell of the first requests."""
    return first_labels(lake)


@pytest.fixture
def land(lake: Lake, tmp_path: Path) -> Land:
    """Import a frame as a CSV file, without making any table."""

    def run(rows: pd.DataFrame, name: str = "labels.csv", now: datetime = NOW, backfill: bool = False) -> ImportReport:
        rows.to_csv(tmp_path / name, index=False)
        return land_file(PlatformResource(), USE_CASE, tmp_path / name, None, now, backfill=backfill)

    return run


@pytest.fixture
def shadow(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Shadow:
    """Run ``shadow labels import``; what it prints is in ``output``."""
    monkeypatch.setenv("COLUMNS", "240")

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(typer_app, ["labels", "import", *map(str, arguments), "--use-case", NAME])

    return run


def known(lake: Lake) -> pd.DataFrame:
    return lake.label_imports(USE_CASE).known_in(START, NOW)


def test_an_import_is_in_the_tables_with_its_quarantine_and_doing_it_again_changes_nothing(
    lake: Lake, labels: pd.DataFrame, shadow: Shadow, tmp_path: Path
) -> None:
    before, file = lake.read_table(LABELS, USE_CASE), tmp_path / "chargebacks.csv"
    rows = corrections(labels.head(10)).astype({"label": object})
    rows.loc[3, "label"] = "maybe"
    rows.to_csv(file, index=False)

    first = shadow(file)
    tables = [lake.read_table(schema, USE_CASE) for schema in (LABELS, QUARANTINED_LABELS)]
    again = shadow(file)

    assert (first.exit_code, again.exit_code) == (1, 1), first.output
    assert "'maybe' is no label" in first.output
    assert "labels of 1 days were made again: 2024-01-04" in first.output
    assert "nothing is added" in again.output
    imported = tables[0][tables[0]["source"].eq("import:chargebacks.csv")]
    assert set(imported["known_at"]) == {LATER}
    assert len(imported) == 9
    pd.testing.assert_frame_equal(before, tables[0].drop(imported.index).reset_index(drop=True))
    assert tables[1][["file", "row", "column_name"]].values.tolist() == [["chargebacks.csv", 4, "label"]]
    assert json.loads(tables[1]["payload"].iloc[0])["label"] == "maybe"
    for table, schema in zip(tables, (LABELS, QUARANTINED_LABELS), strict=True):
        pd.testing.assert_frame_equal(table, lake.read_table(schema, USE_CASE))
    assert lake.layout.warehouse.exists()


def test_a_dry_run_says_what_would_be_and_changes_nothing(
    lake: Lake, labels: pd.DataFrame, shadow: Shadow, tmp_path: Path
) -> None:
    corrections(labels).to_json(tmp_path / "labels.txt", orient="records", lines=True)

    done = shadow(tmp_path / "labels.txt", "--format", "jsonl", "--dry-run")

    assert done.exit_code == 0, done.output
    assert "50" in done.output
    assert known(lake).empty
    assert list(lake.layout.label_imports("tiny").iterdir()) == []


def test_a_file_that_cannot_be_imported_is_refused_and_leaves_nothing(
    lake: Lake, labels: pd.DataFrame, shadow: Shadow, tmp_path: Path
) -> None:
    (tmp_path / "labels.csv").write_text("visit_id,label\na,1\n")

    done = shadow(tmp_path / "labels.csv")

    assert isinstance(done.exception, LabelFileError)
    assert "labels.csv: column 'requested_at' is missing" in str(done.exception)
    assert list(lake.layout.label_imports("tiny").iterdir()) == []


def test_a_request_that_was_neither_answered_nor_recorded_is_quarantined(
    lake: Lake, labels: pd.DataFrame, land: Land
) -> None:
    rows = corrections(labels.head(3))
    rows.loc[1, "visit_id"] = "v999-999"
    rows.loc[2, "requested_at"] = (labels["requested_at"][2] + timedelta(microseconds=1)).isoformat()

    report = land(rows)

    assert (report.n_accepted, report.n_refused) == (1, 2)
    n_rows, first_row, reason = report.faults["subject_id"]
    assert (n_rows, first_row) == (2, 2)
    assert reason.startswith("no request of v999-999 at 2024-01-01 ")


@pytest.mark.parametrize("is_in_table", [True, False], ids=["in the table", "in the log alone"])
def test_an_answered_request_is_known_before_any_event_tells_of_it(lake: Lake, land: Land, is_in_table: bool) -> None:
    answer = _answer("walk-in", START + timedelta(hours=5))
    if is_in_table:
        row = {name: answer.get(name) for name in PREDICTIONS.column_names}
        lake.append_rows(PREDICTIONS, USE_CASE, [{**row, "features": "{}"}])
    else:
        sink = FileLogSink(lake.layout.log("predictions", "tiny"))
        sink.append(answer)
        sink.close()
    row = {"visit_id": "walk-in", "requested_at": answer["requested_at"], "label": 1, "known_at": LATER.isoformat()}

    assert land(pd.DataFrame([row])).n_accepted == 1


def _answer(subject_id: str, at: datetime) -> dict[str, object]:
    return {
        **{"request_id": "r1", "use_case": "tiny", "subject_id": subject_id, "entities": {}, "features": {}},
        **{"requested_at": at.isoformat(), "logged_at": datetime.now(UTC).isoformat(), "schema_version": 3},
        **{"feature_sources": {"request": 0, "online": 0, "imputed": 4}, "model_version": "1", "bundle_hash": "x"},
        **{"variant": "champion", "propensity": 1.0, "probability": 0.2, "prediction": False, "threshold": 0.5},
    }


def test_equal_rows_count_once_and_contradictions_within_one_instant_are_quarantined(
    lake: Lake, labels: pd.DataFrame, land: Land
) -> None:
    rows = corrections(labels.head(3))
    opposite = rows.iloc[[1]].assign(label=~rows["label"].iloc[1])

    report = land(pd.concat([rows, rows.iloc[[0, 0]], opposite]))

    assert (report.n_rows, report.n_accepted, report.n_repeated, report.n_refused) == (6, 2, 2, 2)
    assert report.faults["label"][:2] == (2, 2)
    assert "contradicts another row of the file" in report.faults["label"][2]


def test_what_contradicts_an_earlier_import_or_the_events_at_the_same_instant_is_quarantined(
    lake: Lake, labels: pd.DataFrame, land: Land
) -> None:
    land(corrections(labels.head(2)), "first.csv")
    other = corrections(labels.head(2)).assign(label=labels["label"])
    same_instant = corrections(labels.iloc[[5]], labels["known_at"].iloc[5])

    report = land(pd.concat([other, same_instant]), "second.csv")

    assert (report.n_accepted, report.n_refused) == (0, 3)
    reasons = lake.label_imports(USE_CASE).refused()["reason"].tolist()
    assert [reason.split(",")[0] for reason in reasons] == ["contradicts import:first.csv"] * 2 + ["contradicts events"]


def test_a_label_known_before_the_latest_evaluation_is_taken_as_a_backfill_only(
    lake: Lake, labels: pd.DataFrame, land: Land
) -> None:
    decided = dict.fromkeys(GATE_DECISIONS.column_names, "x") | {
        "use_case": "tiny",
        "criteria": "[]",
        "maturity": "{}",
        "fingerprints": "{}",
    }
    times = {"as_of": START + timedelta(days=2), "decided_at": NOW}
    lake.append_rows(GATE_DECISIONS, USE_CASE, [decided | times])
    judged = dict.fromkeys(PERFORMANCE_DAILY.column_names) | {
        "use_case": "tiny",
        "model_version": "1",
        "role": "champion",
    }
    lake.append_rows(PERFORMANCE_DAILY, USE_CASE, [judged | {"day_at": START, "labels_as_of": LATER}])
    rows = corrections(labels.head(2), [LATER, LATER + timedelta(microseconds=1)])

    refused, taken = land(rows), land(rows, backfill=True)

    assert (refused.n_accepted, refused.n_refused) == (1, 1)
    assert f"judged or trained as of {LATER.isoformat()}" in refused.faults["known_at"][2]
    assert (taken.n_accepted, taken.n_refused) == (2, 0)


def test_a_label_known_before_the_latest_training_would_change_its_frame_and_is_refused(
    lake: Lake, labels: pd.DataFrame, land: Land
) -> None:
    trained = dict.fromkeys(MODEL_EXPERIMENTS.column_names) | {"use_case": "tiny", "run_id": "r"}
    lake.append_rows(MODEL_EXPERIMENTS, USE_CASE, [trained | {"trained_at": NOW, "trained_as_of": LATER}])

    report = land(corrections(labels.head(2), [LATER, LATER + timedelta(microseconds=1)]))

    assert (report.n_accepted, report.n_refused) == (1, 1)


def test_while_something_is_judged_an_import_waits_and_then_counts_the_evaluation(
    lake: Lake, labels: pd.DataFrame, shadow: Shadow, tmp_path: Path
) -> None:
    corrections(labels.head(2)).to_csv(tmp_path / "labels.csv", index=False)
    judged = dict.fromkeys(PERFORMANCE_DAILY.column_names) | {
        "use_case": "tiny",
        "model_version": "1",
        "role": "champion",
    }
    results: list[Result] = []
    command = Thread(target=lambda: results.append(shadow(tmp_path / "labels.csv")))
    with lake.label_imports(USE_CASE).judged_or_imported():
        command.start()
        command.join(timeout=1)
        assert known(lake).empty
        lake.append_rows(PERFORMANCE_DAILY, USE_CASE, [judged | {"day_at": START, "labels_as_of": LATER}])
    command.join()

    assert results[0].exit_code == 1, results[0].output
    assert f"judged or trained as of {LATER.isoformat()}" in results[0].output
    assert known(lake).empty


def test_every_import_of_a_day_is_in_its_quarantine(lake: Lake, labels: pd.DataFrame, land: Land) -> None:
    for n, name in enumerate(("first.csv", "second.csv", "third.csv")):
        rows = corrections(labels.iloc[4 * n : 4 * n + 4]).astype({"label": object})
        rows.loc[rows.index[:n], "label"] = "?"
        rows.loc[rows.index[: n // 2], "visit_id"] = ""
        land(rows, name)

    metadata = materialized(build_label_assets(USE_CASE)[1], lake.layout.home)

    table = lake.read_table(QUARANTINED_LABELS, USE_CASE)
    pd.testing.assert_frame_equal(table, lake.label_imports(USE_CASE).refused())
    assert (metadata["dagster/row_count"], metadata["quarantined_rows"]) == (4, 3)
    assert metadata["violations_by_column"] == {"label": 3, "subject_id": 1}
    assert metadata["violations_by_file"] == {"third.csv": 3, "second.csv": 1}


def test_what_was_quarantined_can_be_corrected_from_its_payload_and_imported(
    lake: Lake, labels: pd.DataFrame, land: Land, tmp_path: Path
) -> None:
    rows = corrections(labels.head(4)).astype({"label": object})
    rows.loc[0, "label"] = "?"
    rows.loc[1, "visit_id"] = "unknown"
    land(rows)
    payloads = lake.label_imports(USE_CASE).refused().sort_values("row")["payload"].tolist()
    fixed = [payloads[0].replace('"?"', "true"), payloads[1].replace("unknown", labels["subject_id"][1])]
    (tmp_path / "fixed.jsonl").write_text("\n".join(fixed))

    report = land_file(PlatformResource(), USE_CASE, tmp_path / "fixed.jsonl", None, NOW)

    assert (report.n_accepted, report.n_refused) == (2, 0)
    assert len(known(lake)) == 4


def test_a_label_without_a_time_of_knowledge_became_known_with_the_import(
    lake: Lake, labels: pd.DataFrame, land: Land
) -> None:
    land(corrections(labels.head(2)).drop(columns="known_at"))

    assert set(known(lake)["known_at"]) == set(known(lake)["event_at"]) == {pd.Timestamp(NOW)}


def test_a_use_case_whose_days_are_over_needs_the_time_of_knowledge(labels: pd.DataFrame, tmp_path: Path) -> None:
    ended = replace(USE_CASE, last_partition=FIRST_DAY + timedelta(days=DAYS))
    corrections(labels).drop(columns="known_at").to_csv(tmp_path / "labels.csv", index=False)

    with pytest.raises(
        LabelFileError, match=r"the days of tiny ended at 2024-01-06.*; say when each label became known"
    ):
        land_file(PlatformResource(), ended, tmp_path / "labels.csv", None, NOW)


def test_an_import_that_died_before_it_landed_leaves_nothing_to_see_and_is_swept_by_the_next(
    lake: Lake, labels: pd.DataFrame, land: Land
) -> None:
    folder = lake.layout.label_imports("tiny")
    dead = folder / ".staging-dead" / "whole"
    dead.mkdir(parents=True)
    (dead / "accepted.parquet").write_bytes(b"half")
    assert known(lake).empty

    land(corrections(labels))

    assert len(known(lake)) == 50
    assert [path.name.startswith(".") for path in folder.iterdir()] == [False]


def test_two_imports_at_once_are_one_after_the_other(lake: Lake, labels: pd.DataFrame, land: Land) -> None:
    lake.layout.locks("x").parent.mkdir(parents=True, exist_ok=True)
    with (
        FileLock(lake.layout.locks("labels-tiny")),
        pytest.raises(AlreadyRunning, match="another import of labels of tiny"),
    ):
        land(corrections(labels))


@pytest.fixture
def many(lake: Lake, tmp_path: Path) -> Path:
    """A file with 200,000 labels of answered requests, every thousandth without a time, every thousandth unknown."""
    n = 200_000
    at = pd.Series(pd.date_range(START, periods=n, freq="s"))
    answers = pd.DataFrame({"subject_id": [f"s{i}" for i in range(n)], "requested_at": at})
    for day, part in answers.groupby(at.dt.date):
        path = lake.layout.table("predictions", "tiny", day)
        path.parent.mkdir(parents=True)
        part.to_parquet(path)
    rows = answers.assign(label=np.arange(n) % 3 == 0, known_at=at + timedelta(days=2)).astype({"known_at": object})
    rows.loc[::1_000, "known_at"] = None
    rows.loc[1::1_000, "subject_id"] = "nobody"
    rows["known_at"] = pd.to_datetime(rows["known_at"], utc=True)
    rows.assign(requested_at=at.dt.tz_convert("UTC")).to_parquet(tmp_path / "many.parquet")
    return tmp_path / "many.parquet"


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("held", "trace"), [("finish", "candidates.parquet"), ("land", "whole/import.json")], ids=["sorting", "landing"]
)
def test_an_import_that_is_killed_has_not_happened_and_the_same_command_again_sorts_every_row(
    held: str, trace: str, lake: Lake, many: Path, start_process: StartProcess
) -> None:
    folder = lake.layout.label_imports("tiny")
    command = ["-c", HELD.format(step=held), "labels", "import", str(many), "--use-case", NAME]
    killed = start_process(command, SHADOW_HOME=str(lake.layout.home))
    killed.wait_until(lambda: any(folder.glob(f".staging-*/{trace}")), f"it begins to {held}", 150.0)
    killed.signal(signal.SIGKILL)
    killed.process.wait()
    assert known(lake).empty

    report = land_file(PlatformResource(), USE_CASE, many, None, NOW)

    assert (report.n_rows, report.n_accepted, report.n_refused) == (200_000, 199_800, 200)
    assert {column: n for column, (n, _, _) in report.faults.items()} == {"subject_id": 200}
    assert report.known_days == [FIRST_DAY + timedelta(days=2 + d) for d in range(3)] + [NOW.date()]
    assert len(known(lake)) == 199_800
    assert [path.name for path in folder.iterdir()] == [report.import_id]
