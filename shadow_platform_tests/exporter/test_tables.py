"""What the exporter says of a use case is what its tables and logs hold, read in few partitions and written nowhere."""

import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from shadow_platform.adapters.deployment import write_manifest
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import LakeError
from shadow_platform.contracts.tables import (
    DRIFT_VERDICTS,
    GATE_DECISIONS,
    LABELS,
    PERFORMANCE_DAILY,
    PERFORMANCE_VERDICTS,
    PREDICTIONS,
)
from shadow_platform.domain.figures import TRANSITION_KINDS
from shadow_platform.exporter.sources import lanes_of
from shadow_platform.exporter.tables import UseCaseTables
from shadow_platform_tests.exporter.conftest import NOW, Home, ago
from shadow_platform_tests.exporter.test_instance import by_metric
from shadow_platform_tests.tiny import USE_CASE as TINY

NAME = TINY.name
HORIZON = TINY.label.horizon


def read(home: Home, source: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples of one source, by metric and labels."""
    (reader,) = [reader for reader in UseCaseTables(home.platform, TINY).readers() if reader.source == source]
    return by_metric(reader.read())


def verdict(name: str, at: datetime, outcome: str = "pass", **values: object) -> dict[str, object]:
    """Columns that verdicts of both kinds have."""
    return {"evaluation_id": name, "window_end": at, "evaluated_at": at, "outcome": outcome, **values}


def answered(home: Home, at: datetime) -> None:
    """An answer in the table."""
    home.add(PREDICTIONS, request_id=at.isoformat(), requested_at=at)


def labelled(home: Home, at: datetime) -> None:
    """A label of a request, known an hour later."""
    home.add(LABELS, subject_id="s", requested_at=at, known_at=at + timedelta(hours=1), label=True)


def test_drift_is_told_by_scope_from_its_newest_verdict(home: Home) -> None:
    home.add(DRIFT_VERDICTS, **verdict("a", ago(days=3), "fail", scope="daily", drift_score=0.6))
    home.add(DRIFT_VERDICTS, **verdict("b", ago(days=2), "pass", scope="daily", drift_score=0.1))
    home.add(DRIFT_VERDICTS, **verdict("c", ago(hours=1), "insufficient", scope="live", drift_score=None))
    found = read(home, "drift")

    assert found["drift_score"] == {(NAME, "daily"): 0.1}
    assert found["drift_failing"] == {(NAME, "daily"): 0}
    assert found["drift_insufficient"] == {(NAME, "daily"): 0, (NAME, "live"): 1}
    assert found["drift_last_evaluation_timestamp_seconds"][(NAME, "live")] == ago(hours=1).timestamp()


def test_performance_is_told_of_the_champion_that_serves(home: Home) -> None:
    home.add(PERFORMANCE_DAILY, day_at=ago(days=2), role="champion", model_version="1", n_labelled=5, log_loss=0.4)
    home.add(PERFORMANCE_VERDICTS, **verdict("a", ago(days=2), "fail", model_version="1"))
    home.add(PERFORMANCE_VERDICTS, **verdict("b", ago(days=1), "pass", model_version="2"))
    undeployed = read(home, "performance")
    deploy_tiny(home, "1")
    found = read(home, "performance")

    assert found["champion_log_loss"] == {(NAME,): 0.4}
    assert found["model_log_loss"] == {(NAME, "champion", "1"): 0.4}
    assert found["performance_failing"] == {(NAME,): 1}
    assert "performance_failing" not in undeployed


def deploy_tiny(home: Home, version: str) -> None:
    """A manifest whose champion is a version."""
    champion = DeployedModel(version=version, bundle_hash="0" * 64, model_name="line", since=NOW)
    manifest = DeploymentManifest(use_case=NAME, generation=1, champion=champion, written_at=NOW)
    write_manifest(home.layout.manifest(NAME), manifest)


def test_decisions_are_counted_over_all_days(home: Home) -> None:
    for days, (decision, purpose) in enumerate([("wait", "challenge"), ("promote", "challenge"), ("promote", "watch")]):
        at = ago(days=40 * days)
        home.add(GATE_DECISIONS, decision_id=f"d{days}", as_of=at, decided_at=at, decision=decision, purpose=purpose)
    found = read(home, "gate")

    assert found["gate_decisions"] == {
        (NAME, "promote"): 1, (NAME, "wait"): 1, (NAME, "reject"): 0, (NAME, "rollback"): 1
    }  # fmt: skip
    assert found["gate_last_decision_timestamp_seconds"] == {(NAME,): NOW.timestamp()}


def test_transitions_are_read_from_their_log_so_that_a_rollback_is_seen_at_once(home: Home) -> None:
    changes = [
        (1, "champion", None, "1"),
        *((2, "champion", "1", "2"), (2, "previous", None, "1")),
        *((3, "champion", "2", "1"), (3, "previous", "1", "2")),
    ]
    sink = FileLogSink(home.layout.log("transitions", NAME))
    for generation, alias, before, after in changes:
        row = {"transition_id": f"{generation}{alias}", "generation": generation, "alias": alias}
        row |= {"from_version": before, "to_version": after, "evidence_id": None}
        sink.append(row)
    sink.close()
    told = {kind: n for (_, kind), n in read(home, "transitions")["model_transitions"].items()}

    assert told == dict.fromkeys(TRANSITION_KINDS, 0) | {"first": 1, "promotion": 1, "rollback": 1}


def test_labels_are_behind_once_one_that_is_due_is_not_there(home: Home) -> None:
    assert read(home, "labels") == {}
    answered(home, NOW - HORIZON + timedelta(hours=1))
    assert read(home, "labels") == {}, "no label is due yet"
    answered(home, NOW - HORIZON - timedelta(hours=2))
    without = read(home, "labels")["labels_behind_seconds"][(NAME,)]
    labelled(home, NOW - HORIZON - timedelta(hours=5))
    behind = read(home, "labels")["labels_behind_seconds"][(NAME,)]
    labelled(home, NOW - HORIZON - timedelta(hours=2))

    midnight = (NOW - HORIZON - timedelta(hours=2)).replace(hour=0)
    assert without == (NOW - HORIZON - timedelta(hours=2) - midnight).total_seconds()
    assert behind == 3 * 3600
    assert read(home, "labels")["labels_behind_seconds"] == {(NAME,): 0}


def test_a_partition_that_is_damaged_silences_its_source_alone(home: Home) -> None:
    home.add(DRIFT_VERDICTS, **verdict("a", ago(days=1), scope="daily", drift_score=0.2))
    home.add(GATE_DECISIONS, decision_id="d", as_of=NOW, decided_at=NOW, decision="wait", purpose="challenge")
    day = ago(days=1).date()
    home.layout.table(DRIFT_VERDICTS.name, NAME, day).write_bytes(b"no Parquet")

    with pytest.raises(LakeError):
        read(home, "drift")
    assert read(home, "gate")["gate_decisions"][(NAME, "wait")] == 1


def test_nothing_below_the_home_is_written_and_the_warehouse_is_not_opened(home: Home) -> None:
    answered(home, ago(days=30))
    home.add(DRIFT_VERDICTS, **verdict("a", ago(days=1), scope="daily", drift_score=0.2))
    home.platform.lake().publish_warehouse()
    before = contents(home.layout.home)
    for lane in lanes_of(home.platform, [TINY], lambda: None):
        lane.start()
        lane.wait(time.monotonic() + 60)
        assert sum(lane.failures.values()) == 0

    assert contents(home.layout.home) == before


def contents(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of every file."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_a_use_case_that_a_home_has_nothing_of_is_not_told_of(home: Home) -> None:
    def said() -> set[str]:
        lane = lanes_of(home.platform, [TINY], lambda: None)[0]
        return set(by_metric(sample for reader in lane.readers for sample in reader.read()))

    assert said() == set()
    deploy_tiny(home, "1")
    assert said() == {"gate_decisions", "model_transitions"}
