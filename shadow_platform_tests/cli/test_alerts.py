"""``shadow alerts``: what people were told, and whether they would hear it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from shadow_platform.adapters import alerts
from shadow_platform.adapters.lake import Lake
from shadow_platform.cli import typer_app
from shadow_platform.contracts.errors import SettingsError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.tables import ALERTS
from shadow_platform_tests.alert_servers import mail_server, webhook
from shadow_platform_tests.processes import free_port

USE_CASE = "shadow_platform_tests.tiny:USE_CASE"
NOW = datetime.now(UTC)
Command = Callable[..., Result]


@pytest.fixture
def shadow(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``shadow alerts``, which waits for the processes of a busy machine."""
    monkeypatch.setattr(alerts, "send", partial(alerts.send, timeout_s=150.0))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(typer_app, ["alerts", *arguments])

    return run


def told(layout: Layout, name: str, at: datetime, **changed: Any) -> None:
    row = {
        "use_case": "tiny", "alert_id": name, "kind": "promoted", "severity": "warning", "subject": name,
        "title": f"tiny: version {name} is champion", "text": "because\n\nWhat to do: nothing.", "occurred_at": at,
        "sent_at": at, "told": ["1:json"], "n_tries": 1, "tried_at": at, "error": None, **changed,
    }  # fmt: skip
    Lake(layout).append_rows(ALERTS, "tiny", [row])


def test_a_test_message_reaches_everybody_and_each_answer_is_told(
    shadow: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = f"json://oncall:sesame@127.0.0.1:{free_port()}/hook"
    with mail_server() as mailbox, webhook() as hook:
        monkeypatch.setenv("ALERT_URLS", f"{mailbox.url},{hook.url},{gone}")
        done = shadow("test")

    lines = done.output.splitlines()
    assert lines[:2] == ["1:mailto: sent", "2:json: sent"]
    assert lines[2].startswith("3:json: not sent: ")
    assert "sesame" not in done.output
    assert done.exit_code == 1
    assert mailbox.mails[0]["Subject"] == hook.posts[0]["title"] == "shadow: test of alerts"


def test_when_everybody_takes_the_test_message_it_succeeds(shadow: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as hook:
        monkeypatch.setenv("ALERT_URLS", hook.url)
        assert shadow("test").exit_code == 0


def test_without_receivers_the_test_says_what_to_set(shadow: Command) -> None:
    refused = shadow("test")

    assert isinstance(refused.exception, SettingsError)
    assert "ALERT_URLS is not set" in str(refused.exception)


def test_the_list_shows_what_was_told_lately_and_why_something_was_not_sent(shadow: Command, layout: Layout) -> None:
    told(layout, "5", NOW - timedelta(days=9))
    told(layout, "6", NOW - timedelta(days=1))
    told(layout, "7", NOW - timedelta(hours=1), sent_at=None, told=[], error="1:json: Connection refused")

    sent, unsent = shadow("list", "-u", USE_CASE).output.splitlines()
    assert "tiny: version 6 is champion (sent " in sent
    assert unsent.endswith("tiny: version 7 is champion (not sent: 1:json: Connection refused)")
    assert "    What to do: nothing." in shadow("list", "-u", USE_CASE, "--text", "--days", "30").output.splitlines()
    assert "version 5" in shadow("list", "-u", USE_CASE, "--days", "30").output


def test_an_empty_list_says_so(shadow: Command, layout: Layout) -> None:
    assert shadow("list", "-u", USE_CASE).output == f"no alert of tiny in the last 7 days in {layout.home}\n"
