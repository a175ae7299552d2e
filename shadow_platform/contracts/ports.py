"""Interfaces between the loop and the outside: what an adapter of each kind must do.

Every adapter of a kind, in-memory fakes included, passes the same contract suite.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from shadow_platform.contracts.records import SourceOffset


@dataclass(frozen=True, slots=True)
class LoggedLine:
    """One complete line of a log and where it ends."""

    payload: bytes
    offset: SourceOffset


class LogSink(Protocol):
    """Appends records durably enough to survive the death of this process."""

    def append(self, record: object) -> None:
        """Append one record (dataclass or mapping) before returning; raises ``LogError``."""

    def append_many(self, records: Sequence[object]) -> None:
        """Append a batch with one write; raises ``LogError``."""

    def sync(self) -> None:
        """Flush to the device."""

    def close(self) -> None:
        """Sync and release."""


class LogSource(Protocol):
    """Reads complete lines, oldest segment first, never a torn tail."""

    def read(self, after: Mapping[str, int], limit: int | None = None) -> Iterator[LoggedLine]:
        """Lines behind ``after`` (segment -> byte offset already consumed)."""


@dataclass(frozen=True, slots=True)
class FeatureStores:
    """Where features lie: on this machine, or on servers that many machines share.

    Attributes:
        column: ``local`` or ``scale``; the names of Feast's two configurations.
        redis_url, postgres_url, features_url: online rows, Feast's registry, offline rows; set with ``scale``. The
            first two may hold passwords, which no log or traceback shows.
        ray_address: Ray cluster that joins and materializes; ``None``: one on this machine.
    """

    column: Literal["local", "scale"] = "local"
    redis_url: str | None = field(default=None, repr=False)
    postgres_url: str | None = field(default=None, repr=False)
    features_url: str | None = None
    ray_address: str | None = None


LOCAL_STORES = FeatureStores()


@dataclass(frozen=True, slots=True)
class OnlineRow:
    """Latest values of one entity in one view; ``event_at`` is when they became true."""

    values: Mapping[str, float | int | str | None]
    event_at: datetime


class OnlineFeatures(Protocol):
    """Low-latency reads for serving."""

    def read(self, entities: Sequence[Mapping[str, str]]) -> list[dict[str, OnlineRow]]:
        """For each request's join keys: view name -> row; a view without a row is absent. One lookup a view."""


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """One version of a use case's model in the registry."""

    use_case: str
    version: str
    model_name: str
    bundle_hash: str
    run_id: str
    created_at: datetime
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


class Registry(Protocol):
    """Versions and aliases of models."""

    def register(self, use_case: str, bundle: Path, run_id: str, tags: Mapping[str, str]) -> RegisteredVersion:
        """Register a bundle once; the same bundle hash gives the version it already has."""

    def get(self, use_case: str, version: str) -> RegisteredVersion:
        """One version; raises ``RegistryError`` when there is none."""

    def versions(self, use_case: str) -> list[RegisteredVersion]:
        """All versions, oldest first."""

    def newest(self, use_case: str, limit: int) -> list[RegisteredVersion]:
        """At most so many versions, newest first."""

    def alias(self, use_case: str, alias: str) -> str | None:
        """Version an alias points to."""

    def swap_alias(self, use_case: str, alias: str, expected: str | None, new: str | None) -> None:
        """Compare-and-swap; raises ``TransitionConflict`` when the alias is not at ``expected``."""

    def fetch_bundle(self, use_case: str, version: str, bundles: Path) -> Path:
        """Folder ``bundles/<hash>`` with the version's bundle, hash verified."""


Rows = Sequence[Mapping[str, Any]]
