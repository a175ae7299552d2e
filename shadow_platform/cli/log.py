"""``shadow log``: carries logs from the machines that answer to the one that judges.

Upstream: ``log_transport``. Downstream: people, and whatever keeps processes running in production.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from shadow_platform.cli.options import UseCaseOption
from shadow_platform.contracts.errors import SettingsError, StreamError

if TYPE_CHECKING:
    from shadow_platform.log_transport.lander import LogLander
    from shadow_platform.log_transport.relay import LogRelay
    from shadow_platform.settings import Settings

LOGGER = logging.getLogger("shadow_platform.log_transport")

log_app = typer.Typer(
    help="Carry logs between machines through Kafka: every line once, every file byte by byte.", no_args_is_help=True
)
LogsOption = Annotated[
    str, typer.Option("--logs", help="Comma-separated: predictions, failures, shadow, transitions, rollouts.")
]
CaughtUpOption = Annotated[bool, typer.Option("--until-caught-up", help="End when everything there is was carried.")]


TAKEN_UP_S = 30.0


@log_app.command()
def relay(
    use_case: UseCaseOption,
    logs: LogsOption = "predictions,failures",
    until_caught_up: CaughtUpOption = False,
    again: Annotated[bool, typer.Option("--again", help="Publish all there is again, after a loss elsewhere.")] = False,
) -> None:
    """Publish the logs that this home's processes write. Whoever answers never waits for it."""

    def made(settings: "Settings", name: str, chosen: Sequence[str]) -> "LogRelay":
        from shadow_platform.log_transport.relay import LogRelay
        from shadow_platform.streaming.brokers import kafka_settings

        kafka, prefix = kafka_settings(settings), settings.kafka_log_prefix
        return LogRelay(settings.layout, name, chosen, kafka, prefix, again, _keep_h(settings))

    if not (again and _asked_again(use_case, logs)):
        _carry("relay", use_case, logs, until_caught_up, made, has_metrics=not again)


@log_app.command()
def land(
    use_case: UseCaseOption,
    logs: LogsOption = "predictions,failures",
    until_caught_up: CaughtUpOption = False,
    group: Annotated[
        str | None, typer.Option(help="Consumer group; each home that lands the same topics needs its own.")
    ] = None,
    skip_gaps: Annotated[
        bool, typer.Option("--skip-gaps", help="Put lines aside, and go on, when those before them were lost for good.")
    ] = False,
) -> None:
    """Make the logs of other machines again in this home, byte by byte."""

    def made(settings: "Settings", name: str, chosen: Sequence[str]) -> "LogLander":
        from shadow_platform.log_transport.lander import LogLander, group_of
        from shadow_platform.streaming.brokers import kafka_settings

        prefix = settings.kafka_log_prefix
        members = group or group_of(prefix, name)
        return LogLander(settings.layout, name, chosen, kafka_settings(settings), prefix, members, skip_gaps)

    _carry("lander", use_case, logs, until_caught_up, made)


def _keep_h(settings: "Settings") -> int | None:
    """Hours after which relayed segments are deleted; ``None``, never, in a home that tables are made of."""
    only_answers = settings.shadow_shared is not None and settings.layout.shared != settings.layout.home
    return settings.log_relay_keep_h or None if only_answers else None


def _carry(
    process: str,
    use_case: str,
    logs: str,
    until_caught_up: bool,
    made: "Callable[[Settings, str, Sequence[str]], LogRelay | LogLander]",
    has_metrics: bool = True,
) -> None:
    """Run a relay or a lander until it is told to stop, its work is done, or its supervisor is gone."""
    from bento.orphan import is_orphan
    from shadow_platform.adapters.exposition import metrics_served
    from shadow_platform.log_transport.topics import parse_logs
    from shadow_platform.log_transport.turns import turn
    from shadow_platform.settings import load_settings
    from shadow_platform.telemetry.logs import configure_logging
    from shadow_platform.use_cases import load_use_case

    settings, name, chosen = load_settings(), load_use_case(use_case).name, parse_logs(logs)
    configure_logging(settings, process, name)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())

    def is_stopped() -> bool:
        return stopped.is_set() or is_orphan(None, generation=1)

    with ExitStack() as stack:
        try:
            port = settings.metrics_port if has_metrics else None
            stack.enter_context(metrics_served(port, settings.metrics_host))
        except SettingsError as error:
            LOGGER.error("%s; meanwhile lines are carried without metrics", error)
        if stack.enter_context(turn(settings.layout, name, chosen, is_stopped)):
            made(settings, name, chosen).run(is_stopped, until_caught_up)


def _asked_again(use_case: str, logs: str) -> bool:
    """Have the relay that runs in this home publish everything again; false when none runs."""
    from shadow_platform.log_transport.tail import LogTail
    from shadow_platform.log_transport.topics import parse_logs
    from shadow_platform.log_transport.turns import is_taken
    from shadow_platform.settings import load_settings
    from shadow_platform.use_cases import load_use_case

    layout, name, chosen = load_settings().layout, load_use_case(use_case).name, parse_logs(logs)
    if not is_taken(layout, name, chosen):
        return False
    marks = [LogTail(layout.log(log, name), layout.relay_progress(name, log)).ask_again() for log in chosen]
    deadline = time.monotonic() + TAKEN_UP_S
    while any(mark.exists() for mark in marks):
        if time.monotonic() > deadline:
            for mark in marks:
                mark.unlink(missing_ok=True)
            raise StreamError(
                f"another process holds the {logs} of this home, and has not begun again within {TAKEN_UP_S:g} s; is "
                "it a lander, a relay of other --logs, or a relay that waits for its broker? End it, and try again"
            )
        time.sleep(0.1)
    typer.echo(f"the relay that runs here publishes all there is of the {logs} again")
    return True
