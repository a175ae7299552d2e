"""A stored decision comes out the same for ever, whatever becomes known later and however it arrives."""

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from shadow_platform.assets.comparison import build_comparison_assets
from shadow_platform.assets.gates import build_gate_assets
from shadow_platform.assets.labels import build_label_assets
from shadow_platform.assets.promotion import build_promotion_assets
from shadow_platform.cli.importing import land_file
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import GATE_DECISIONS, LABELS
from shadow_platform_tests.assets.served import FAR_OFF, FIRST_DAY, TRUTH, USE_CASE, Home
from shadow_platform_tests.cli.importing import materialized

DAYS, PER_DAY = 10, 60
AS_OF = FIRST_DAY + timedelta(days=DAYS + 1)
PREDICTIONS_ASSET, COMPARISONS = build_comparison_assets(USE_CASE)[:2]
DEPLOYMENT = build_promotion_assets(USE_CASE)[0]
ON_THE_DAY = {f"dagster/asset_partition_range_{end}": f"{AS_OF.date()}" for end in ("start", "end")}
GATE, LABELS_ASSET = build_gate_assets(USE_CASE)[0], build_label_assets(USE_CASE)[0]


@pytest.fixture
def home(layout: Layout) -> Home:
    """Ten days of answers in the tables, on which a gate has decided; an eleventh and twelfth day without requests."""
    made = Home(layout)
    made.register(*FAR_OFF)
    made.register(*TRUTH)
    made.materialize(DEPLOYMENT)
    made.serve(DAYS, PER_DAY, TRUTH)
    assert made.materialize(PREDICTIONS_ASSET, COMPARISONS, days=DAYS + 3).success
    for kind in USE_CASE.events:
        nothing = pd.DataFrame(columns=list(kind.schema.columns))
        for day in (AS_OF - timedelta(days=1), AS_OF, AS_OF + timedelta(days=1)):
            made.lake.write_events(USE_CASE, kind, day.date(), nothing)
    made.materialize(GATE, config={"gate_decision": {"as_of": AS_OF.isoformat()}})
    return made


def decisions(home: Home) -> pd.DataFrame:
    return home.lake.read_table(GATE_DECISIONS, USE_CASE).drop(columns="decided_at")


def file_of(path: Path, rows: pd.DataFrame, known_at: "pd.Series[pd.Timestamp]") -> Path:
    columns = {"requested_at": rows["requested_at"], "known_at": known_at}
    times = {name: values.map(lambda at: at.isoformat()) for name, values in columns.items()}
    pd.DataFrame({"subject_id": rows["subject_id"], "label": rows["label"], **times}).to_csv(path, index=False)
    return path


def test_a_decision_is_the_same_byte_for_byte_after_late_corrected_and_repeated_labels_which_only_a_later_one_sees(
    home: Home, tmp_path: Path
) -> None:
    before, labels = decisions(home), home.lake.read_table(LABELS, USE_CASE)
    later = pd.Series(AS_OF + timedelta(hours=3), index=labels.index)
    known = [
        file_of(tmp_path / "corrected.csv", labels.assign(label=~labels["label"]), later),
        file_of(tmp_path / "repeated.csv", labels, later - timedelta(hours=1)),
        file_of(tmp_path / "early.csv", labels.assign(label=~labels["label"]), labels["known_at"] + timedelta(hours=1)),
    ]

    now = AS_OF + timedelta(days=2)
    reports = [land_file(home.platform, USE_CASE, path, None, now) for path in known]
    materialized(LABELS_ASSET, home.layout.home, ON_THE_DAY)
    home.materialize(GATE, config={"gate_decision": {"as_of": AS_OF.isoformat()}})

    assert [report.n_refused for report in reports] == [0, 0, len(labels)]
    assert len(home.lake.read_table(LABELS, USE_CASE)) == 3 * len(labels)
    pd.testing.assert_frame_equal(decisions(home), before)
    home.materialize(GATE, config={"gate_decision": {"as_of": (AS_OF + timedelta(days=1)).isoformat()}})
    assert decisions(home)["decision"].tolist() == ["promote", "reject"]
