"""The alert sensor: every fact is told once, to everybody, however often servers, daemons and files fail."""

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from dagster._core.test_utils import create_run_for_test
from filelock import FileLock

from shadow_platform.adapters import alerts, deployment
from shadow_platform.adapters.alerts import Mail
from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.automation.alerts import LOOKBACK, build_alert_sensor
from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.rollouts import Rollout, RolloutState
from shadow_platform.contracts.tables import ALERTS, DRIFT_VERDICTS, PIPELINE_RUNS
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.alert_servers import mail_server, webhook
from shadow_platform_tests.fakes_registry import FrailRegistry
from shadow_platform_tests.processes import free_port
from shadow_platform_tests.tiny import USE_CASE as TINY

NOW = datetime(2024, 3, 5, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Memory(PlatformResource):
    """Receivers without servers, which take or refuse what they are given."""

    home_of: str

    def send_alerts(self, mails: Sequence[Mail]) -> list[list[str | None]]:
        """Note what is sent; a receiver whose URL says so refuses it."""
        sent = Path(self.home_of) / "sent.jsonl"
        with sent.open("a") as file:
            for mail in mails:
                for message in mail.messages:
                    file.write(json.dumps([mail.receiver.name, message.title]) + "\n")
        return [["away" if "away" in mail.receiver.url else None] * len(mail.messages) for mail in mails]


class Home:
    """One home, its alert sensor and its clock."""

    def __init__(self, layout: Layout, instance: dg.DagsterInstance, platform: type[PlatformResource]) -> None:
        self.layout, self.instance, self.lake = layout, instance, Lake(layout)
        self.sensor = build_alert_sensor(TINY, ["tiny_retrain"])
        self._platform, self.now = platform, NOW

    def tick(self, after: timedelta = timedelta(0)) -> str:
        """One tick; what it says."""
        self.now += after
        of_memory = {"home_of": str(self.layout.home)} if self._platform is Memory else {}
        platform = self._platform(shadow_home=str(self.layout.home), simulated_now=self.now.isoformat(), **of_memory)
        context = dg.build_sensor_context(instance=self.instance, resources={"platform": platform})
        return str(self.sensor.evaluate_tick(context).skip_message)

    def drifted(self, *evaluations: str, at: datetime = NOW, **changed: Any) -> None:
        """Let drift verdicts have failed."""
        values = {
            "use_case": TINY.name, "window_start": at, "window_end": at, "outcome": "fail", "headline": "x shifted",
            "explanation": "x rose by 40 %.", "drift_score": 0.5, "n_current": 100, "n_reference": 50,
            "scope": "daily", "evaluated_at": at, **changed,
        }  # fmt: skip
        row = dict.fromkeys(DRIFT_VERDICTS.column_names) | values
        self.lake.append_rows(DRIFT_VERDICTS, TINY, [row | {"evaluation_id": name} for name in evaluations])

    def rows(self) -> pd.DataFrame:
        """The table alerts, oldest first."""
        return self.lake.read_table(ALERTS, TINY).sort_values("occurred_at")

    def row(self) -> Any:
        """Its only row."""
        (row,) = self.rows().itertuples()
        return row

    def sent(self) -> list[list[str]]:
        """Receiver and title of every message that was given to the memory."""
        file = self.layout.home / "sent.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def home(layout: Layout, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose alerts go to real servers, from a process that may take long to start."""
    monkeypatch.setattr(alerts, "send", partial(alerts.send, timeout_s=120.0, begin_within_s=60.0))
    return Home(layout, instance, PlatformResource)


@pytest.fixture
def memory(layout: Layout, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose alerts go to one receiver in memory."""
    monkeypatch.setenv("ALERT_URLS", "json://there")
    return Home(layout, instance, Memory)


def test_a_failing_verdict_reaches_mail_and_webhook_and_stands_in_the_table(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.drifted("e1")
    with mail_server() as mailbox, webhook() as hook:
        monkeypatch.setenv("ALERT_URLS", f"{mailbox.url}, {hook.url}")
        assert home.tick() == "1 new alerts; 1 sent"
        assert home.tick(99 * MINUTE) == "nothing new to tell"

    (mail,), (post,) = mailbox.mails, hook.posts
    row = home.row()
    assert mail["Subject"] == post["title"] == row.title == "tiny: drift until 2024-03-05 12:00 UTC: x shifted"
    assert post["message"] == row.text
    assert (row.kind, row.severity, row.subject) == ("drift_failed", "warning", "e1")
    assert (row.sent_at, list(row.told), row.n_tries, row.error) == (NOW, ["1:mailto", "2:json"], 1, None)


def test_a_server_that_is_down_is_told_later_and_nobody_is_told_twice(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.drifted("e1")
    port = free_port()
    with mail_server() as mailbox:
        url = f"json://oncall:sesame@127.0.0.1:{port}/hook"
        monkeypatch.setenv("ALERT_URLS", f"{mailbox.url}, {url}")
        said, down = home.tick(), home.row()
        with webhook(port) as hook:
            assert home.tick(MINUTE / 2) == "nothing new to tell"
            home.tick(MINUTE / 2)

    assert pd.isna(down.sent_at)
    assert list(down.told) == ["1:mailto"]
    assert down.error.startswith("2:json: ")
    assert "Connection refused" in down.error
    assert down.error in said
    assert (len(mailbox.mails), len(hook.posts)) == (1, 1)
    assert (home.row().sent_at, home.row().error, home.row().n_tries) == (NOW + MINUTE, None, 2)


def test_no_secret_of_a_url_stands_in_a_table_a_log_or_what_a_tick_says(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    home.drifted("e1", explanation="could not read redis://:sesame-store@cache:6379 for sesame-hook")
    monkeypatch.setenv("REDIS_URL", "redis://:sesame-store@cache:6379")
    with webhook() as hook:
        hook.status = 500
        gone = f"mailto://sesame-user:sesame-pass@127.0.0.1:{free_port()}?from=a@example.org&to=b@example.org"
        monkeypatch.setenv("ALERT_URLS", f"{hook.url},{gone}")
        said = home.tick()

    parquet = pd.read_parquet(home.layout.table("alerts", TINY.name, NOW.date())).to_json()
    assert "2 not" in said or "1 not" in said
    for told in (said, parquet, caplog.text, *capfd.readouterr()):
        for secret in ("sesame-store", "sesame-hook@", "sesame-path", "sesame-head", "sesame-user", "sesame-pass"):
            assert secret not in told


def test_a_receiver_that_stays_away_is_tried_at_growing_distances_for_as_long_as_the_alert_is_of_these_days(
    memory: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_URLS", "json://away")
    memory.drifted("e1")

    tried, at = list[int](), 0
    hours = [63 + 60 * n for n in range(1, 5)]
    for minute in (0, 1, 2, 3, 6, 7, 14, 15, 30, 31, 62, 63, 122, *hours):
        memory.tick((minute - at) * MINUTE)
        at = minute
        if len(memory.sent()) > len(tried):
            tried.append(minute)

    assert tried == [0, 1, 3, 7, 15, 31, 63, *hours]
    assert (memory.row().n_tries, memory.row().error) == (11, "1:json: away")

    monkeypatch.setenv("ALERT_URLS", "json://there")
    memory.tick(LOOKBACK - at * MINUTE)
    assert memory.row().sent_at == NOW + LOOKBACK


def test_without_receivers_alerts_are_rows_that_are_sent_once_there_are_some(
    memory: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALERT_URLS")
    memory.drifted("e1")
    assert memory.tick() == "1 new alerts; "
    assert memory.row().n_tries == 0
    monkeypatch.setenv("ALERT_URLS", "json://there")
    assert memory.tick() == "0 new alerts; 1 sent"


@pytest.mark.parametrize(("lowest", "n"), [("info", 1), ("warning", 1), ("critical", 0)])
def test_alerts_below_the_least_severity_are_rows_only(
    memory: Home, monkeypatch: pytest.MonkeyPatch, lowest: str, n: int
) -> None:
    monkeypatch.setenv("ALERT_MIN_SEVERITY", lowest)
    memory.drifted("e1")
    memory.tick()
    assert len(memory.sent()) == n
    assert len(memory.rows()) == 1


@pytest.mark.parametrize(("n", "n_messages"), [(10, 10), (11, 1)])
def test_many_alerts_of_one_tick_are_one_message(memory: Home, n: int, n_messages: int) -> None:
    for i in range(n):
        memory.drifted(f"e{i}", scope=f"live {i}")
    memory.tick()
    assert len(memory.sent()) == n_messages
    assert len(memory.rows()) == n
    assert memory.rows()["sent_at"].notna().all()
    assert (memory.sent()[0][1] == "tiny: 11 alerts (11 warning)") == (n == 11)


def test_a_daemon_that_was_away_for_days_tells_what_it_missed_and_nothing_older(memory: Home) -> None:
    memory.drifted("old", at=NOW - LOOKBACK - timedelta(days=1))
    memory.drifted("missed", at=NOW - LOOKBACK + MINUTE)
    memory.tick()
    assert list(memory.rows()["subject"]) == ["missed"]


def test_a_window_of_long_ago_that_is_judged_today_is_told(memory: Home) -> None:
    memory.drifted("e1", at=NOW - timedelta(days=900), evaluated_at=NOW)
    memory.tick()
    assert memory.row().occurred_at == NOW


@pytest.mark.parametrize("dying_write", [1, 2])
def test_a_daemon_that_dies_in_between_loses_no_alert(
    memory: Home, monkeypatch: pytest.MonkeyPatch, dying_write: int
) -> None:
    memory.drifted("e1")
    writes = 0

    class Dies(BaseException):
        pass

    def dying(append: Callable[..., int]) -> Callable[..., int]:
        def write(*arguments: Any) -> int:
            nonlocal writes
            writes += 1
            if writes == dying_write:
                raise Dies
            return append(*arguments)

        return write

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "append_rows", dying(Lake.append_rows))
        with pytest.raises(Dies):
            memory.tick()
    memory.tick()
    memory.tick()

    assert memory.row().sent_at == NOW
    assert len(memory.sent()) == dying_write


def test_a_table_that_cannot_be_read_silences_no_other_and_fails_the_tick(
    memory: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.drifted("e1")
    broken = memory.layout.table(PIPELINE_RUNS.name, TINY.name, NOW.date())
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no parquet")
    with pytest.raises(ShadowPlatformError, match=r"alerts of tiny may lack something: .*pipeline_runs"):
        memory.tick()
    assert memory.row().sent_at == NOW


def test_two_processes_do_not_tell_at_once(memory: Home) -> None:
    memory.drifted("e1")
    lock = memory.layout.locks("alerts-tiny")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        assert memory.tick() == "another process tells the alerts of tiny"
    assert memory.tick() == "1 new alerts; 1 sent"


def test_promotion_canary_and_rollback_are_told_from_the_log_of_transitions(memory: Home) -> None:
    registry, layout = FrailRegistry(), memory.layout
    who: dict[str, Any] = {"use_case": TINY.name, "actor": "gate", "reason": "because", "now": NOW}
    with closing(FileLogSink(layout.log("transitions", TINY.name))) as audit:

        def change(name: str, **arguments: Any) -> DeploymentManifest:
            found = getattr(deployment, name)(registry, layout, audit, **who, **arguments)
            assert isinstance(found, DeploymentManifest)
            return found

        change("deploy_initial", version="1")
        change("add_challenger", version="2")
        change("start_canary", version="2", share=0.1)
        change("stop_canary")
        change("promote", version="2")
        change("rollback")
        change("add_challenger", version="3")
        change("start_canary", version="3", share=0.2)
        serving = change("promote", version="3")
        (layout.bundles / "hash1").mkdir(parents=True, exist_ok=True)
        deployment.emergency_rollback(layout, audit, **who, expected_generation=serving.generation)

    memory.tick()

    rows = memory.rows()
    assert sorted(zip(rows["kind"], rows["subject"], strict=True)) == [
        ("canary_halted", "2"),
        ("promoted", "2"),
        ("promoted", "3"),
        ("rolled_back", "2"),
        ("rolled_back", "3"),
    ]


def test_a_rollout_is_told_when_it_wants_approval_fails_and_stands_still(memory: Home) -> None:
    platform = PlatformResource(shadow_home=str(memory.layout.home))
    before: Rollout | None = None
    for hours, state, n_failures in ((0, "awaiting_approval", 0), (1, "approved", 0), (2, "approved", 1)):
        at = NOW + timedelta(hours=hours)
        rollout = Rollout(
            rollout_id="abc123", use_case=TINY.name, version="7", expected_champion="3", decision_id="abc123ff",
            state=RolloutState(state), begun_at=NOW, step_started_at=NOW + timedelta(hours=min(hours, 1)),
            step_id=f"s{hours}", stepped_at=at, actor="policy", n_failures=n_failures, detail="the Bento did not start",
        )  # fmt: skip
        platform.record_step(TINY, rollout, before.step_id if before else None)
        before = rollout
    memory.tick(timedelta(hours=3))
    memory.tick(TINY.rollout.stuck_after - timedelta(hours=2))
    assert list(memory.rows()["kind"]) == ["approval_wanted", "rollout_failed"]
    memory.tick(MINUTE)

    rows = memory.rows()
    assert list(rows["kind"]) == ["approval_wanted", "rollout_failed", "rollout_stuck"]
    assert rows["text"].str.contains("the Bento did not start").all()
    assert len(memory.sent()) == 3


def test_a_failing_verdict_that_is_held_back_for_a_day_is_told(memory: Home) -> None:
    verdicts = {"trigger_id": "e1", "trigger": "drift", "outcome": "deferred", "reason": "cooldown", "run_id": None}
    memory.lake.append_rows(PIPELINE_RUNS, TINY, [{"use_case": TINY.name, "considered_at": NOW, **verdicts}])
    assert memory.tick(timedelta(hours=24)) == "nothing new to tell"
    memory.tick(MINUTE)
    assert (memory.row().kind, memory.row().subject) == ("trigger_stuck", "e1")


def test_a_failed_run_is_told_with_the_step_and_its_error(memory: Home) -> None:
    @dg.op
    def fit() -> None:
        raise ValueError("no rows since Monday")

    @dg.job(name="tiny_retrain")
    def tiny_retrain() -> None:
        fit()

    run = tiny_retrain.execute_in_process(instance=memory.instance, raise_on_error=False)
    memory.now = datetime.now(UTC)
    memory.tick()
    memory.tick()

    row = memory.row()
    assert (row.kind, row.subject) == ("run_failed", run.run_id)
    assert "step fit: ValueError: no rows since Monday" in row.text


def test_a_run_that_was_given_up_before_it_began_is_told_with_what_dagster_said(memory: Home) -> None:
    run = create_run_for_test(memory.instance, job_name="tiny_retrain", status=dg.DagsterRunStatus.STARTING)
    memory.instance.report_run_failed(run, "Run timed out due to taking longer than 180 seconds to start.")
    memory.now = datetime.now(UTC)
    memory.tick()
    assert "Run timed out due to taking longer than 180 seconds to start." in memory.row().text


def test_drift_that_lasts_is_told_once_a_day_however_long_it_lasts(memory: Home) -> None:
    memory.now = began = NOW.replace(hour=0)
    for hour in range(0, 24 * 9, 6):
        memory.drifted(f"e{hour}", at=(at := began + timedelta(hours=hour)), scope="live")
        memory.tick(at - memory.now)
    assert memory.rows()["subject"].tolist() == [f"e{24 * day}" for day in range(9)]


def test_runs_of_others_and_failures_that_will_be_retried_are_not_told(memory: Home) -> None:
    failed = dg.DagsterRunStatus.FAILURE
    create_run_for_test(memory.instance, job_name="their_retrain", status=failed)
    create_run_for_test(memory.instance, job_name="tiny_retrain", status=failed, tags={"dagster/will_retry": "true"})
    create_run_for_test(memory.instance, job_name="tiny_retrain", status=dg.DagsterRunStatus.CANCELED)
    memory.now = datetime.now(UTC)
    assert memory.tick() == "nothing new to tell"


def test_a_run_that_does_not_end_is_told_after_six_hours(memory: Home) -> None:
    run = create_run_for_test(memory.instance, job_name="tiny_retrain", status=dg.DagsterRunStatus.STARTED)
    memory.now = memory.instance.get_run_records()[0].create_timestamp
    assert memory.tick(timedelta(hours=5, minutes=59)) == "nothing new to tell"
    memory.tick(2 * MINUTE)
    assert (memory.row().kind, memory.row().subject) == ("trigger_stuck", run.run_id)
