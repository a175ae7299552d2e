"""``shadow alerts``: what was told lately, and whether anybody would hear it.

Belongs here: printing. Does not belong here: what is an alert, and when it is sent (``automation.alerts``). Upstream:
the table alerts, receivers. Downstream: people on call.
"""

import socket
from datetime import timedelta
from typing import Annotated

import typer

from shadow_platform.cli.options import UseCaseOption

alerts_app = typer.Typer(help="What people on call were told, and whether it reaches them.", no_args_is_help=True)


@alerts_app.command("list")
def list_alerts(
    use_case: UseCaseOption,
    days: Annotated[int, typer.Option(help="How far to look back, days.", min=1)] = 7,
    text: Annotated[bool, typer.Option("--text", help="Print what happened and what to do as well.")] = False,
) -> None:
    """Alerts of the last days, the newest last, and whether they were sent."""
    from shadow_platform.contracts.tables import ALERTS
    from shadow_platform.resources import PlatformResource
    from shadow_platform.use_cases import load_use_case

    platform, found = PlatformResource(), load_use_case(use_case)
    since = platform.now() - timedelta(days=days)
    rows = platform.lake().read_table(ALERTS, found, since.date())
    rows = rows[rows["occurred_at"] >= since].sort_values(["occurred_at", "alert_id"])
    if rows.empty:
        print(f"no alert of {found.name} in the last {days} days in {platform.layout.home}")
    for row in rows.astype(object).where(rows.notna(), None).to_dict("records"):
        how = f"sent {row['sent_at']:%Y-%m-%d %H:%M}" if row["sent_at"] else "not sent"
        error = f": {row['error']}" if row["error"] else ""
        print(f"{row['occurred_at']:%Y-%m-%d %H:%M} {row['severity']:8} {row['kind']:18} {row['title']} ({how}{error})")
        if text:
            print("".join(f"    {line}\n" for line in str(row["text"]).splitlines()))


@alerts_app.command("test")
def send_test() -> None:
    """Send a test message to every URL of ALERT_URLS and say what became of it. Exit 1: somebody did not take it."""
    from shadow_platform.adapters.alerts import Mail, Message
    from shadow_platform.contracts.errors import SettingsError
    from shadow_platform.resources import PlatformResource

    platform = PlatformResource()
    receivers = platform.alert_receivers()
    if not receivers:
        raise SettingsError(
            "ALERT_URLS is not set, so alerts are rows of the table alerts only; set it, see docs/alerts.md"
        )
    body = f"Sent by hand from {socket.gethostname()} at {platform.now():%Y-%m-%d %H:%M:%S} UTC; nothing happened."
    test = Message("shadow: test of alerts", body, "info")
    answers = platform.send_alerts([Mail(receiver, (test,)) for receiver in receivers])
    for receiver, (error,) in zip(receivers, answers, strict=True):
        print(f"{receiver.name}: {'sent' if error is None else f'not sent: {error}'}")
    raise typer.Exit(1 if any(error for (error,) in answers) else 0)
