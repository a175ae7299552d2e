"""Commands on the stream: sending a use case's own events, and consuming them.

Upstream: the streaming room. Downstream: people; a supervisor restarts ``shadow stream`` in production.
"""

import re
import signal
import threading
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from shadow_platform.cli.options import UseCaseOption

if TYPE_CHECKING:
    from shadow_platform.contracts.use_case import EventSource, UseCase
    from shadow_platform.resources import PlatformResource
    from shadow_platform.streaming.producer import Pace

SHOWN_EVERY = 500
_DAY = ["%Y-%m-%d"]


def produce(
    use_case: UseCaseOption,
    start: Annotated[
        datetime | None, typer.Option("--from", help="First day of receipt (UTC); default: the first.", formats=_DAY)
    ] = None,
    end: Annotated[
        datetime | None, typer.Option("--to", help="Last day of receipt (UTC); default: the last.", formats=_DAY)
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Events a second; default: as fast as the broker takes them.", min=0.001)
    ] = None,
    speed: Annotated[
        str | None, typer.Option(help="How much faster than they were received, such as 60x.", metavar="FACTOR")
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Only the events of this topic.")] = None,
) -> None:
    """Send a use case's own events to Kafka, in the order and with the time of their receipt.

    The topics are those of its event kinds; missing ones are made. Sent again, events are recognised by their keys.
    """
    from shadow_platform.contracts.errors import UseCaseError
    from shadow_platform.resources import PlatformResource
    from shadow_platform.use_cases import load_use_case

    pace, value, platform = _pace(rate, speed), load_use_case(use_case), PlatformResource()
    source = platform.event_source(value)
    first = start.date() if start else source.first_day()
    last = end.date() if end else source.last_day()
    if last < first:
        raise UseCaseError(f"there is no day from {first} to {last}; --to must not be before --from")
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    typer.echo(f"{_send(platform, value, source, days, pace, topic):,} messages delivered")


def stream(
    use_case: UseCaseOption,
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End when every message there is was consumed.")
    ] = False,
) -> None:
    """Consume a use case's topics until stopped: raw events for the tables, features for the online store.

    Start it as often as there are partitions to share; after a crash, start it again. Nothing is lost or counted twice.
    """
    from shadow_platform.adapters.exposition import metrics_served
    from shadow_platform.resources import PlatformResource
    from shadow_platform.streaming.consumer import open_consumer
    from shadow_platform.telemetry.logs import configure_logging
    from shadow_platform.use_cases import load_use_case

    platform, stopped = PlatformResource(), threading.Event()
    value = load_use_case(use_case)
    configure_logging(platform.settings, "stream", value.name)
    consumer = open_consumer(platform, value)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with metrics_served(platform.settings.metrics_port, platform.settings.metrics_host):
        consumer.run(stopped.is_set, until_caught_up)


def _send(
    platform: "PlatformResource",
    use_case: "UseCase",
    source: "EventSource",
    days: Sequence[date],
    pace: "Pace | None",
    topic: str | None,
) -> int:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from shadow_platform.adapters.kafka import EventProducer, ensure_topics
    from shadow_platform.streaming.brokers import kafka_settings
    from shadow_platform.streaming.producer import Outgoing, finish, outgoing, send, topics_of

    settings = kafka_settings(platform.settings)
    ensure_topics(settings, topics_of(use_case, topic))
    producer = EventProducer(settings)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[n]:,} events"))
    with Progress(*columns, TimeElapsedColumn()) as bar:
        task = bar.add_task(str(days[0]), total=len(days), n=0)

        def events() -> Iterator[Outgoing]:
            for n, day in enumerate(days):
                bar.update(task, completed=n, description=str(day))
                yield from outgoing(use_case, source, day, topic)

        for n_sent in send(producer, events(), pace):
            if n_sent % SHOWN_EVERY == 0:
                bar.update(task, n=n_sent)
        bar.update(task, completed=len(days), n=producer.n_sent)
        return finish(producer)


def _pace(rate: float | None, speed: str | None) -> "Pace | None":
    from shadow_platform.streaming.producer import at_rate, at_speed

    if rate is not None and speed is not None:
        raise typer.BadParameter("give --rate or --speed, not both")
    if speed is not None:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)x?", speed)
        if found is None or float(found[1]) == 0:
            raise typer.BadParameter(f"--speed {speed} is no factor above 0; write 60x, or 60")
        return at_speed(float(found[1]))
    return None if rate is None else at_rate(rate)
