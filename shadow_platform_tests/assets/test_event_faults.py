"""Whatever is wrong with a raw event file: the good rows are kept, each bad one is named with file, row and column."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.events import Ingestion, build_event_assets
from shadow_platform.assets.features import build_feature_assets
from shadow_platform.contracts.errors import EventFileError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.contracts.tables import QUARANTINED_EVENTS
from shadow_platform.contracts.use_case import EventKind, EventSource, UseCase
from shadow_platform.domain.events import Tally
from shadow_platform.partitions import partition_range
from shadow_platform.resources import PlatformResource
from shadow_platform.use_cases import load_use_case, use_case_names
from shadow_platform_tests.tiny import FIRST_DAY, USE_CASE, TinySource

Row = dict[str, Any]
SIMULATED = SimulationPlan(n_entities=400, drifts=())
USE_CASES = (USE_CASE, *(load_use_case(name) for name in use_case_names()))
KINDS = [pytest.param(uc, kind, id=f"{uc.name}-{kind.name}") for uc in USE_CASES for kind in uc.events]
VISITS, VIEW = USE_CASE.events[0], USE_CASE.views[0]


def ingest(layout: Layout, use_case: UseCase, kind: EventKind, day: date, content: bytes | None = None) -> Tally:
    """Run the stage over one raw file, of the content given or as it lies there."""
    path = layout.raw_events(use_case.name, kind.name, day)
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is not None:
        path.write_bytes(content)
    platform = PlatformResource(shadow_home=str(layout.home))
    return Ingestion(platform, replace(use_case, events=(kind,)), [day]).run()


@cache
def source(name: str) -> EventSource:
    use_case = next(use_case for use_case in USE_CASES if use_case.name == name)
    return use_case.simulation.simulator(SIMULATED) if use_case.simulation else use_case.source()


def days(use_case: UseCase) -> Iterator[date]:
    day = use_case.first_partition
    while day <= source(use_case.name).last_day():
        yield day
        day += timedelta(days=1)


def sample(use_case: UseCase, kind: EventKind) -> Row:
    """The first row of a kind, as its source sends it."""
    batches = (source(use_case.name).received_on(day).get(kind.name, ()) for day in days(use_case))
    return dict(next(batch[0] for batch in batches if batch))


def moved(text: str, by: timedelta) -> str:
    return (datetime.fromisoformat(text) + by).isoformat()


def line(row: Row, **changes: Any) -> bytes:
    return json.dumps(row | changes).encode()


def faults(row: Row, column: str) -> dict[str, tuple[bytes, str | None, str]]:
    """Lines that are each wrong in one way: the column at fault (``None``: the row as a whole) and words of the reason.

    Args:
        column: one of the payload.
    """
    received_at = row["received_at"]
    ahead = moved(received_at, timedelta(seconds=1))
    tomorrow = moved(received_at, timedelta(days=1))
    return {
        "wrong type": (line(row, **{column: {"value": 1}}), column, "found {'value': 1}"),
        "missing column": (line({k: v for k, v in row.items() if k != column}), column, "the field is missing"),
        "extra column": (line(row, colour="red"), "colour", "the field is unknown to the schema"),
        "no version": (line(row, schema_version=None), "schema_version", "found None"),
        "event after receipt": (line(row, event_at=ahead), "event_at", "event_at is after received_at"),
        "received after the day": (line(row, received_at=tomorrow), "received_at", "not on the file's day"),
        "received before the day": (
            line(row, **{name: moved(row[name], timedelta(days=-1)) for name in ("event_at", "received_at")}),
            "received_at",
            "not on the file's day",
        ),
        "time without offset": (line(row, event_at=received_at[:19]), "event_at", "with its offset from UTC"),
        "latin-1": (line(row, event_id="§").replace(b"\\u00a7", "Zoë".encode("latin-1")), None, "not UTF-8: byte"),
        "UTF-16": (json.dumps(row).encode("utf-16-le"), None, "not JSON"),
        "NUL bytes": (line(row).replace(b'"event_id": "', b'"event_id": "\x00'), None, "control character"),
        "cut off": (line(row)[:-9], None, "not JSON"),
        "nested bomb": (line(row)[:-1] + b', "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", None, "depth limit"),
        "long line": (line(row, event_id="x" * 2_000_000), None, "the line is too long"),
        "a list": (json.dumps([row]).encode(), None, "expected a JSON object, found list"),
        "two objects": (line(row) + line(row), None, "not JSON"),
        "NaN": (line(row, event_id=float("nan")), None, "not JSON"),
        "duplicate key": (line(row, event_id="good-0"), None, "duplicate of an event already received"),
    }


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize(("use_case", "kind"), KINDS)
def test_of_every_kind_exactly_the_faulty_rows_are_quarantined(
    use_case: UseCase, kind: EventKind, ending: bytes, layout: Layout
) -> None:
    row = sample(use_case, kind)
    day = datetime.fromisoformat(row["received_at"]).date()
    payload = next(name for name in kind.schema.columns if name not in {"event_id", "event_at", "received_at"})
    wrong = faults(row, payload)
    good = [line(row, event_id=f"good-{n}") for n in range(len(wrong) + 1)]
    mixed = [good[0], *(part for n, (bad, _, _) in enumerate(wrong.values()) for part in (bad, good[n + 1]))]

    tally = ingest(layout, use_case, kind, day, b"\xef\xbb\xbf" + ending.join(mixed))

    lake, file = Lake(layout), f"raw/{use_case.name}/{kind.name}/dt={day}/events.jsonl"
    found = lake.read_table(QUARANTINED_EVENTS, use_case).sort_values("row")
    assert set(found["file"]) == {file}
    assert dict(zip(found["row"], found["column_name"], strict=True)) == {
        2 * n + 2: column for n, (_, column, _) in enumerate(wrong.values())
    }
    for (name, (_, _, words)), reason in zip(wrong.items(), found["reason"], strict=True):
        assert words in reason, name
    kept = lake.events_sql(f'SELECT event_id FROM "{kind.name}" ', use_case, [kind])["event_id"]
    assert sorted(kept) == sorted(f"good-{n}" for n in range(len(good)))
    assert (tally.incomplete, tally.quarantined[kind.name]) == ([], len(wrong))


def visits(n: int = 3) -> list[Row]:
    return [dict(row) for row in TinySource().received_on(FIRST_DAY)["visits"][:n]]


def visit_lines() -> bytes:
    return b"".join(line(row) + b"\n" for row in visits())


def test_a_subscription_event_from_before_its_sign_up_is_quarantined_and_makes_no_feature(layout: Layout) -> None:
    churn = load_use_case("churn")
    kind = next(kind for kind in churn.events if kind.name == "subscriptions")
    good = sample(churn, kind)
    day = datetime.fromisoformat(str(good["received_at"])).date()
    impossible = good | {"event_id": "impossible", "signed_up_at": "2031-01-01T00:00:00+00:00"}
    at_once = good | {"event_id": "at-once", "signed_up_at": good["event_at"]}
    ingest(layout, churn, kind, day, b"".join(line(row) + b"\n" for row in (good, impossible, at_once)))

    found = Lake(layout).read_table(QUARANTINED_EVENTS, churn)
    assert found[["row", "reason"]].values.tolist() == [[2, "failed event_at_not_before_signed_up_at"]]
    assert json.loads(found["payload"].iloc[0]) == impossible
    kept = Lake(layout).events_sql("SELECT event_id FROM subscriptions", churn, [kind])
    assert kept["event_id"].tolist() == [good["event_id"], "at-once"]


def test_a_line_of_200_megabytes_is_one_bad_row(layout: Layout) -> None:
    path = layout.raw_events("tiny", "visits", FIRST_DAY)
    path.parent.mkdir(parents=True)
    first, second, _ = visit_lines().splitlines(keepends=True)
    with path.open("wb") as file:
        file.write(first)
        file.seek(200_000_000, os.SEEK_CUR)
        file.write(b"\n" + second)

    tally = ingest(layout, USE_CASE, VISITS, FIRST_DAY)

    assert (tally.valid["visits"], tally.quarantined["visits"]) == (2, 1)
    found = Lake(layout).read_table(QUARANTINED_EVENTS, USE_CASE)
    assert found["row"].tolist() == [2]
    assert len(found["payload"].iloc[0]) <= 4_096


def test_an_empty_file_is_a_day_without_events(layout: Layout) -> None:
    tally = ingest(layout, USE_CASE, VISITS, FIRST_DAY, b"")
    assert tally.rows["visits"] == 0
    assert Lake(layout).event_days(USE_CASE, VISITS) == [FIRST_DAY]


def test_a_file_of_nothing_but_faults_leaves_no_event(layout: Layout) -> None:
    tally = ingest(layout, USE_CASE, VISITS, FIRST_DAY, b"nothing\n" * 200_000)
    assert (tally.valid["visits"], tally.quarantined["visits"]) == (0, 200_000)
    assert len(Lake(layout).read_table(QUARANTINED_EVENTS, USE_CASE)) == 200_000


def materialize(layout: Layout, last: date = FIRST_DAY) -> dg.ExecuteInProcessResult:
    """The stages of events and features over some days, as a run does them."""
    return dg.materialize(
        [*build_event_assets(USE_CASE), *build_feature_assets(USE_CASE)],
        selection=[dg.AssetKey(["tiny", name]) for name in ("raw_events", "events", "quarantined_events", VIEW.name)],
        resources={"platform": PlatformResource(shadow_home=str(layout.home))},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        tags=partition_range(FIRST_DAY, last),
        raise_on_error=False,
    )


def drop(layout: Layout, rows: Iterable[Row], day: date = FIRST_DAY) -> None:
    path = layout.raw_events("tiny", "visits", day)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(line(row) + b"\n" for row in rows))


SCHEMA_CHANGES: dict[str, tuple[Callable[[Row], Row], str, str]] = {
    "a new column": (lambda row: row | {"colour": "red"}, "colour", "the field is unknown to the schema"),
    "a column gone": (lambda row: {k: v for k, v in row.items() if k != "cart_value"}, "cart_value", "is missing"),
    "a column retyped": (lambda row: row | {"cart_value": str(row["cart_value"])}, "cart_value", "expected a number"),
}


@pytest.mark.parametrize(("change", "column", "words"), SCHEMA_CHANGES.values(), ids=SCHEMA_CHANGES)
def test_a_kind_that_changed_its_form_upstream_stops_the_run_before_features_are_made_without_it(
    change: Callable[[Row], Row], column: str, words: str, layout: Layout
) -> None:
    second = FIRST_DAY + timedelta(days=1)
    drop(layout, [change(dict(row)) for row in TinySource().received_on(second)["visits"]], second)
    result = materialize(layout, second)
    assert not result.success
    check = next(c for c in result.get_asset_check_evaluations() if c.check_name == "every_kind_keeps_most_of_its_rows")
    assert (check.passed, check.blocking, check.severity) == (False, True, dg.AssetCheckSeverity.ERROR)
    assert check.metadata["quarantined"].value == {f"visits of {second}": "200 of 200 rows quarantined"}
    found = Lake(layout).read_table(QUARANTINED_EVENTS, USE_CASE)
    assert set(found["column_name"]) == {column}
    assert all(words in reason for reason in found["reason"])
    assert Lake(layout).feature_days(USE_CASE, VIEW) == []


ODD_KEYS = ("a'b\"c;--", "Zoë 🦊 \u202e", "line\nbreak\ttab", "x" * 10_000, "NULL", "%s {} $start ../..", " ")


def test_keys_of_odd_characters_are_kept_as_they_are_in_events_and_features(layout: Layout) -> None:
    base = visits(1)[0]
    drop(layout, [base | {"event_id": f"odd-{n}", "visitor_id": key} for n, key in enumerate(ODD_KEYS)])
    assert materialize(layout).success
    rows = Lake(layout).read_features(USE_CASE, VIEW)
    seen = rows[rows["visitor_id"].isin(ODD_KEYS)].set_index("visitor_id")["visits_7d"].to_dict()
    assert seen == dict.fromkeys(ODD_KEYS, 1.0)


SKEWED = {
    "before 1970": ("1969-12-31T23:59:59.999999Z", None),
    "the year 1": ("0001-01-01T00:00:00Z", None),
    "after receipt": ("2024-01-01T23:59:59Z", "event_at is after received_at"),
    "far future": ("9999-12-31T23:59:59Z", "event_at is after received_at"),
    "no time at all": ("31.12.2023", "expected an RFC 3339 time"),
    "another zone": ("2023-12-31T20:00:00-03:30", None),
}


@pytest.mark.parametrize(("event_at", "words"), SKEWED.values(), ids=SKEWED)
def test_a_skewed_clock_is_quarantined_or_kept_to_the_microsecond(
    event_at: str, words: str | None, layout: Layout
) -> None:
    row = visits(1)[0] | {"event_id": "skewed", "visitor_id": "nobody else", "event_at": event_at}
    drop(layout, [*visits(), row])
    assert materialize(layout).success
    quarantined = Lake(layout).read_table(QUARANTINED_EVENTS, USE_CASE)["reason"].tolist()
    rows = Lake(layout).read_features(USE_CASE, VIEW)
    n_rows = int((rows["visitor_id"] == "nobody else").sum())
    if words:
        assert [words in reason for reason in quarantined] == [True]
        assert n_rows == 0
    else:
        assert quarantined == []
        kept = Lake(layout).events_sql(
            "SELECT epoch_us(event_at) AS us FROM visits WHERE event_id = 'skewed'", USE_CASE, [VISITS]
        )
        moment = datetime.fromisoformat(event_at)
        assert kept["us"].tolist() == [(moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)]
        assert n_rows == 1


def test_an_empty_day_has_no_rows_of_its_own_and_hides_none_of_the_days_before(layout: Layout) -> None:
    second = FIRST_DAY + timedelta(days=1)
    for kind in USE_CASE.events:
        path = layout.raw_events("tiny", kind.name, second)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"\n")
    assert materialize(layout, FIRST_DAY + timedelta(days=2)).success
    rows = Lake(layout).read_features(USE_CASE, VIEW)
    days = rows["event_at"].dt.date
    # The hour that ends with midnight is of the day that it opens.
    assert set(rows.loc[days == second, "event_at"].dt.hour) <= {0}
    third = rows[days == FIRST_DAY + timedelta(days=2)]
    assert third.groupby("visitor_id")["visits_7d"].max().sum() > len(TinySource().received_on(FIRST_DAY)["visits"])


WHOLE_FILES = {
    "UTF-16": (visit_lines().decode().encode("utf-16"), "is not UTF-8 JSON lines but UTF-16"),
    "gzip, cut off": (gzip.compress(visit_lines())[:-9], "is not UTF-8 JSON lines but gzip"),
    "Parquet, cut off": (b"PAR1\x15\x04", "is not UTF-8 JSON lines but Parquet"),
}


@pytest.mark.parametrize(("content", "words"), WHOLE_FILES.values(), ids=WHOLE_FILES)
def test_a_file_that_is_no_text_is_named_and_the_old_partition_stands(
    content: bytes, words: str, layout: Layout
) -> None:
    ingest(layout, USE_CASE, VISITS, FIRST_DAY, visit_lines())
    with pytest.raises(EventFileError, match=rf"raw/tiny/visits/dt=2024-01-01/events\.jsonl {words}"):
        ingest(layout, USE_CASE, VISITS, FIRST_DAY, content)
    lake = Lake(layout)
    assert lake.events_sql("SELECT count(*) AS n FROM visits", USE_CASE, [VISITS])["n"].tolist() == [3]
    left = {path.name for path in layout.events("tiny", "visits", FIRST_DAY).parent.iterdir()}
    assert left == {"data.parquet", "record.json"}


def test_a_folder_in_place_of_a_file_is_named(layout: Layout) -> None:
    layout.raw_events("tiny", "visits", FIRST_DAY).mkdir(parents=True)
    with pytest.raises(EventFileError, match=r"events\.jsonl cannot be read: Is a directory; drop a file there"):
        ingest(layout, USE_CASE, VISITS, FIRST_DAY)


def test_a_file_this_user_may_not_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(visit_lines())
    path.chmod(0)
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from shadow_platform.adapters.lake.raw import read_blocks\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "next(read_blocks(Path(sys.argv[1])))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert "events.jsonl cannot be read: Permission denied; drop a file there that this user may read" in done.stderr
