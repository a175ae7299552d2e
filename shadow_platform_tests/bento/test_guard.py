"""The guard acts once, on certain breaches of what serves now, whatever its logs, its clock and its disk do."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bento import slo_window
from bento.guard import ACTOR, Guard, evidence_path
from bento.slo_window import SloWindow
from shadow_platform.adapters.deployment import is_registry_behind, read_manifest, write_manifest
from shadow_platform.adapters.log import FileLogSink, FileLogSource
from shadow_platform.contracts.deployment import Canary, DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import LogError
from shadow_platform.contracts.records import FailureRecord, PredictionRecord
from shadow_platform.contracts.verdicts import Outcome
from shadow_platform.domain.serving import rfc3339
from shadow_platform_tests.bento.helpers import USE_CASE, settings_at

START = datetime.now(UTC) - timedelta(seconds=20)
FAST_MS, SLOW_MS = 10.0, 900.0


def model(version: str) -> DeployedModel:
    return DeployedModel(version=version, bundle_hash=f"hash{version}", model_name="line", since=START)


CANARY = Canary(model=model("2"), share=0.2, salt="s", started_at=START)


class Home:
    """Champion 1, former champion 0, challenger 2, the guard, and the logs that workers would write."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.settings = settings_at(home, slo_min_requests=50, **settings)
        self.layout = self.settings.layout
        self.now = datetime.now(UTC)
        self.predictions = FileLogSink(self.layout.log("predictions", USE_CASE))
        self.failures = FileLogSink(self.layout.log("failures", USE_CASE))
        (self.layout.bundles / "hash0").mkdir(parents=True)
        self.guard = Guard(self.settings, USE_CASE)

    def deploy(self, **parts: Any) -> None:
        manifest = DeploymentManifest(
            use_case=USE_CASE,
            generation=5,
            champion=model("1"),
            previous=model("0"),
            challengers=(model("2"),),
            written_at=START,
        )
        write_manifest(self.layout.manifest(USE_CASE), manifest.model_copy(update=parts))

    def answer(
        self, n: int, latency_ms: float = FAST_MS, at: datetime | None = None, *, is_batch: bool = False, **parts: Any
    ) -> None:
        record = PredictionRecord(
            request_id="r",
            use_case=USE_CASE,
            subject_id="s",
            entities={},
            requested_at=rfc3339(self.now),
            logged_at=rfc3339(at or self.now),
            features={},
            feature_sources={},
            feature_age_s=None,
            model_version=parts.pop("version", "1"),
            bundle_hash="h",
            variant=parts.pop("variant", "champion"),
            propensity=1.0,
            probability=0.5,
            prediction=True,
            threshold=0.5,
            latency_ms=latency_ms,
            **parts,
        )
        step_ms = 0.0 if is_batch else 1e-6
        self.predictions.append_many([replace(record, latency_ms=latency_ms + place * step_ms) for place in range(n)])

    def canary_answers(self, n: int, latency_ms: float, at: datetime | None = None) -> None:
        self.answer(n, latency_ms, at, version="2", variant="canary")

    def champion_fails(self, n: int) -> None:
        at = rfc3339(self.now)
        failure = FailureRecord("r", USE_CASE, "s", at, "champion", "1", "internal-error", "it raised")
        self.failures.append_many([failure] * n)

    def look(self) -> DeploymentManifest | None:
        return self.guard.look(self.now)

    @property
    def manifest(self) -> DeploymentManifest:
        found = read_manifest(self.layout.manifest(USE_CASE))
        assert found is not None
        return found

    @property
    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line.payload) for line in FileLogSource(self.layout.log("transitions", USE_CASE)).read({})]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def on_probation(home: Home, **parts: Any) -> None:
    home.deploy(probation_until=home.now + timedelta(hours=1), **parts)


def test_a_slow_canary_is_halted_once_with_its_figures(home: Home) -> None:
    home.deploy(canary=CANARY)
    assert home.look() is None
    home.canary_answers(60, SLOW_MS)
    home.answer(200)
    written = home.look()
    assert written == home.manifest
    assert written.canary is not None
    assert (written.generation, written.canary.share, written.champion) == (6, 0.0, model("1"))
    reason = "p95 900 ms (limit 200 ms, 60 of 60 answers slower); the champion did not (p95 10 ms of 200 requests)"
    assert written.canary.halted_reason == reason
    home.canary_answers(60, SLOW_MS)
    assert home.look() is None
    (row,) = home.audit
    assert (row["actor"], row["alias"], row["from_version"], row["to_version"]) == (ACTOR, "canary", "2", None)
    assert (row["reason"], row["generation"], row["evidence_id"]) == (reason, 6, f"slo-{USE_CASE}-5")
    evidence = json.loads(evidence_path(home.layout, USE_CASE, row["evidence_id"]).read_text())
    assert (evidence["canary"]["n_slow"], evidence["champion"]["outcome"]) == (60, "pass")
    assert is_registry_behind(home.layout, USE_CASE)


def test_a_canary_whose_place_the_champion_takes_is_halted_for_its_failures(home: Home) -> None:
    home.deploy(canary=CANARY)
    home.canary_answers(45, FAST_MS)
    home.answer(15, is_fallback=True)
    written = home.look()
    assert written is not None
    assert written.canary is not None
    assert "15 of 60 requests failed (25.00 %, limit 1.00 %)" in str(written.canary.halted_reason)


def test_a_breach_takes_enough_requests(home: Home) -> None:
    home.deploy(canary=CANARY)
    home.canary_answers(49, SLOW_MS)
    assert home.look() is None
    home.canary_answers(1, SLOW_MS)
    assert home.look() is not None


def test_a_canary_of_the_setting_is_halted_for_good(tmp_path: Path) -> None:
    home = Home(tmp_path, canary_split=0.1)
    home.deploy()
    home.canary_answers(60, SLOW_MS)
    written = home.look()
    assert written is not None
    assert written.canary is not None
    assert (written.canary.model.version, written.canary.share) == ("2", 0.0)
    home.canary_answers(60, SLOW_MS)
    assert home.look() is None
    assert Guard(home.settings, USE_CASE).look(home.now) is None
    assert len(home.audit) == 1


@pytest.mark.parametrize("fault", ["slow", "failing"])
def test_a_champion_on_probation_is_rolled_back_once(fault: str, home: Home) -> None:
    on_probation(home)
    home.answer(60, SLOW_MS if fault == "slow" else FAST_MS)
    if fault == "failing":
        home.champion_fails(20)
    written = home.look()
    assert written == home.manifest
    assert written.previous is not None
    assert (written.champion.version, written.previous.version, written.probation_until) == ("0", "1", None)
    home.answer(60, SLOW_MS, version="0")
    assert home.look() is None
    assert Guard(home.settings, USE_CASE).look(home.now) is None
    assert [(row["alias"], row["to_version"], row["actor"]) for row in home.audit] == [
        ("champion", "0", ACTOR),
        ("previous", "1", ACTOR),
    ]


def test_a_champion_whose_probation_is_over_is_left_to_people(home: Home) -> None:
    home.deploy(probation_until=home.now)
    home.answer(60, SLOW_MS)
    home.champion_fails(60)
    assert home.look() is None
    assert home.manifest.generation == 5


def test_the_canary_goes_before_the_champion_is_judged(home: Home) -> None:
    on_probation(home, canary=CANARY)
    home.canary_answers(60, SLOW_MS)
    home.answer(60, SLOW_MS)
    first = home.look()
    assert first is not None
    assert first.canary is not None
    assert (first.champion.version, first.canary.share) == ("1", 0.0)
    assert str(first.canary.halted_reason).endswith("look at the machine first")
    assert home.look() is None
    home.now = first.written_at + timedelta(seconds=1)
    home.answer(60, SLOW_MS)
    second = home.look()
    assert second is not None
    assert (second.champion.version, second.canary) == ("0", first.canary)


def test_a_good_canary_does_not_excuse_the_champion(home: Home) -> None:
    on_probation(home, canary=CANARY)
    home.canary_answers(60, FAST_MS)
    home.answer(60, SLOW_MS)
    written = home.look()
    assert written is not None
    assert written.champion.version == "0"


def test_a_guard_that_was_restarted_judges_what_the_log_holds(home: Home) -> None:
    """Nothing from before the deployment, nothing that is older than the window, nothing twice."""
    home.deploy(canary=CANARY)
    home.canary_answers(1000, SLOW_MS, at=START - timedelta(seconds=1))
    home.canary_answers(45, SLOW_MS)
    assert Guard(home.settings, USE_CASE).look(home.now) is None
    home.canary_answers(5, SLOW_MS)
    assert Guard(home.settings, USE_CASE).look(home.now) is not None


def test_requests_leave_the_window_while_enough_are_left_in_it(home: Home) -> None:
    home.deploy(canary=CANARY)
    seconds = [0.0]
    window = SloWindow(home.layout, home.manifest, CANARY, 60.0, clock=lambda: seconds[0])
    home.canary_answers(100, FAST_MS)
    window.follow()
    seconds[0] = 50.0
    home.canary_answers(60, FAST_MS)
    window.follow()
    assert window.verdicts(home.guard._objectives)[0].n == 160
    seconds[0] = 61.0
    assert window.verdicts(home.guard._objectives)[0].n == 60
    seconds[0] = 1000.0
    assert window.verdicts(home.guard._objectives)[0].n == 50


def test_a_model_too_slow_to_fill_the_window_is_judged_all_the_same(home: Home) -> None:
    home.deploy(canary=CANARY)
    seconds = [0.0]
    window = SloWindow(home.layout, home.manifest, CANARY, 60.0, clock=lambda: seconds[0])
    for second in range(0, 120, 2):
        seconds[0] = float(second)
        home.canary_answers(1, 2_000.0 + second)
        window.follow()
    assert window.verdicts(home.guard._objectives)[0].outcome is Outcome.FAIL


def test_one_slow_batch_is_one_slow_request(home: Home) -> None:
    on_probation(home)
    home.answer(300)
    home.answer(1000, SLOW_MS, is_batch=True)
    home.answer(300)
    assert home.look() is None


def test_a_stall_of_all_workers_is_one_stall_also_when_the_window_is_rebuilt(home: Home) -> None:
    """Each worker has a segment of its own, and they are read one after another."""
    on_probation(home)
    for _ in range(4):
        home.predictions = FileLogSink(home.layout.log("predictions", USE_CASE))
        for age_s, latency_ms in ((15, FAST_MS), (10, SLOW_MS), (5, FAST_MS), (0, FAST_MS)):
            home.answer(50, latency_ms, at=home.now - timedelta(seconds=age_s))
    assert Guard(home.settings, USE_CASE).look(home.now) is None


def test_a_clock_that_jumps_hides_no_breach(home: Home) -> None:
    home.deploy(canary=CANARY)
    home.look()
    for hours in (-3, 3):
        home.canary_answers(30, SLOW_MS, at=home.now + timedelta(hours=hours))
    assert home.look() is not None


def test_what_the_window_keeps_and_reads_is_bounded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slo_window, "MAX_REQUESTS", 100)
    monkeypatch.setattr(slo_window, "TAIL_BYTES", 10_000)
    home.deploy(canary=CANARY)
    home.canary_answers(50, FAST_MS)
    window = SloWindow(home.layout, home.manifest, CANARY, 60.0)
    n_read = window.verdicts(home.guard._objectives)[0].n
    assert 0 < n_read < 50
    home.canary_answers(500, FAST_MS)
    window.follow()
    assert window.verdicts(home.guard._objectives)[0].n == 100


def test_lines_that_are_none_are_left_out(home: Home) -> None:
    home.deploy(canary=CANARY)
    for sink in (home.predictions, home.failures):
        sink.append_many([{"nothing": 1}, ["no", "record"], {"request_id": None}])
    home.canary_answers(60, SLOW_MS)
    path = next(home.layout.log("predictions", USE_CASE).rglob("*.jsonl"))
    path.write_bytes(b'\xff{"torn\n' + path.read_bytes() + b'{"request_id": "torn')
    window = SloWindow(home.layout, home.manifest, CANARY, 60.0)
    assert window.n_unreadable == 7
    assert home.look() is not None


def test_without_manifest_logs_or_anything_to_judge_nothing_happens(home: Home) -> None:
    assert home.look() is None
    home.deploy()
    home.answer(60, SLOW_MS)
    assert home.look() is None
    home.deploy(canary=CANARY)
    assert home.look() is None
    assert home.audit == []


def test_an_audit_log_that_cannot_be_written_delays_no_rollback_and_gets_its_row_later(home: Home) -> None:
    root = home.layout.log("transitions", USE_CASE)
    root.parent.mkdir(parents=True)
    root.write_text("in the way")
    on_probation(home)
    home.answer(60, SLOW_MS)
    with pytest.raises(LogError, match="cannot append"):
        home.look()
    assert home.manifest.champion.version == "0"
    assert home.look() is None
    root.unlink()
    assert home.look() is None
    assert [row["alias"] for row in home.audit] == ["champion", "previous"]
