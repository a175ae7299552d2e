"""Consumers within a test, and what their messages become in the tables.

Belongs here: what several tests of the stream need. Does not belong here: assertions. Upstream: the consumer, the
events stage. Downstream: tests of the stream.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import dagster as dg
import pandas as pd

from shadow_platform.adapters.kafka import EventProducer
from shadow_platform.adapters.lake import Lake
from shadow_platform.assets.events import build_event_assets
from shadow_platform.contracts.use_case import EventKind, UseCase
from shadow_platform.resources import PlatformResource
from shadow_platform.streaming.brokers import kafka_settings
from shadow_platform.streaming.consumer import StreamConsumer
from shadow_platform.streaming.history import StreamHistory
from shadow_platform.streaming.producer import finish, outgoing, send
from shadow_platform_tests.tiny import FIRST_DAY, TinySource

DAYS = [FIRST_DAY + timedelta(days=n) for n in range(8)]


@dataclass
class Seen:
    """Features that only remember what they were told."""

    restored: list[datetime] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    advanced: list[datetime] = field(default_factory=list)

    def restore(self, until: datetime) -> Iterator[None]:
        self.restored.append(until)
        yield

    def add(self, _kind: EventKind, events: pd.DataFrame) -> None:
        self.added.extend(events["event_id"])

    def advance(self, until: datetime) -> dict[str, int]:
        self.advanced.append(until)
        return {}


def consumer(platform: PlatformResource, use_case: UseCase, features: Seen | None = None) -> StreamConsumer:
    """A consumer of the use case's own group."""
    logs = platform.stream_logs(use_case)
    history = StreamHistory(platform.lake(), use_case, logs)
    group = "-".join(kind.topic.name for kind in use_case.events if kind.topic)
    return StreamConsumer(use_case, kafka_settings(platform.settings), logs, features or Seen(), history, group)


def catch_up(platform: PlatformResource, use_case: UseCase, features: Seen | None = None) -> StreamConsumer:
    """A consumer that read every partition to its end, and left."""
    member = consumer(platform, use_case, features)
    member.run(lambda: False, until_caught_up=True)
    return member


def produce(platform: PlatformResource, use_case: UseCase, days: Sequence[date] = DAYS) -> int:
    """Send the events of some days; how many."""
    producer = EventProducer(kafka_settings(platform.settings))
    for day in days:
        for _ in send(producer, outgoing(use_case, TinySource(), day)):
            pass
    return finish(producer)


def without_topics(use_case: UseCase) -> UseCase:
    """The same use case with files only."""
    return replace(use_case, events=tuple(replace(kind, topic=None) for kind in use_case.events))


def land(platform: PlatformResource, use_case: UseCase, days: Sequence[date] = DAYS) -> dict[str, bool]:
    """Make the tables of some days; checks by name."""
    result = dg.materialize(
        build_event_assets(use_case),
        resources={"platform": platform},
        tags={
            "dagster/asset_partition_range_start": days[0].isoformat(),
            "dagster/asset_partition_range_end": days[-1].isoformat(),
        },
    )
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def n_raw_lines(platform: PlatformResource, use_case: UseCase) -> int:
    """Lines of all raw files that came from topics."""
    kinds = [kind.name for kind in use_case.events if kind.topic]
    files = [platform.layout.raw_events(use_case.name, kind, day) for kind in kinds for day in DAYS]
    return sum(file.read_bytes().count(b"\n") for file in files if file.exists())


def events(platform: PlatformResource, use_case: UseCase, kind: str) -> pd.DataFrame:
    """Valid events of a kind, by their ids."""
    lake: Lake = platform.lake()
    found = lake.events_sql(f"SELECT * FROM {kind}", use_case, use_case.events)
    return found.sort_values("event_id", ignore_index=True)
