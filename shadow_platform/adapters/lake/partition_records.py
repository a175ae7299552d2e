"""Notes beside the partitions of events and features: what each was made of, and what it holds.

Belongs here: keeping the records, looking at raw files and segments without reading them when nothing moved. Does not
belong here: what follows from a difference (``domain.features``). Upstream: assets of events and features. Downstream:
they themselves, and the sensor of late days.

A record is written after its partition. One that a killed run did not write, or that is unreadable, is missing: the
next run of the day writes it.
"""

import hashlib
import os
import uuid
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from shadow_platform.adapters.lake.events import RAW_ROW
from shadow_platform.adapters.lake.parquet import rows_fingerprint
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.partition_records import (
    EventsRecord,
    FeaturesRecord,
    LandingRecord,
    OnlineRecord,
    SourceState,
)
from shadow_platform.contracts.use_case import EventKind, FeatureView, UseCase

Record = TypeVar("Record", bound=BaseModel)


class PartitionRecords:
    """Records of one use case. Holds nothing open."""

    def __init__(self, layout: Layout, use_case: UseCase) -> None:
        self._layout, self._name = layout, use_case.name

    def events(self, kind: EventKind) -> dict[date, EventsRecord]:
        """Records of the days of a kind, in order; a day whose partition is gone has none."""
        return dict(_records(self._layout.events(self._name, kind.name), EventsRecord))

    def features(self, view: FeatureView) -> dict[date, FeaturesRecord]:
        """Records of the days of a view, in order; a day whose partition is gone has none."""
        return dict(_records(self._layout.features(self._name, view.name), FeaturesRecord))

    def note_events(self, kind: EventKind, day: date, source: SourceState, *, is_misshapen: bool = False) -> str:
        """Note what a partition of events was made of; returns the fingerprint of its rows."""
        path = self._layout.events(self._name, kind.name, day)
        fingerprint = rows_fingerprint(path, RAW_ROW)
        record = EventsRecord(source=source, fingerprint=fingerprint, is_misshapen=is_misshapen)
        _write(self._layout.record(path), record)
        return fingerprint

    def note_features(self, view: FeatureView, day: date, record: FeaturesRecord) -> None:
        """Note what a partition of features was made of."""
        _write(self._layout.record(self._layout.features(self._name, view.name, day)), record)

    def online(self, view: FeatureView) -> dict[date, str]:
        """Fingerprints of the rows that the online store was given, by day; none before it was filled."""
        record = _read(self._layout.online_record(self._name, view.name), OnlineRecord)
        return record.fingerprints if record else {}

    def note_online(self, view: FeatureView, fingerprints: Mapping[date, str]) -> None:
        """Note what the online store was given, besides what it had of other days."""
        known = {**self.online(view), **fingerprints}
        _write(self._layout.online_record(self._name, view.name), OnlineRecord(fingerprints=known))

    def note_landed(self, kind: EventKind, day: date, stream_bytes: int) -> None:
        """Note how much of the segments a raw file holds."""
        path = self._layout.raw_events(self._name, kind.name, day)
        _write(self._layout.record(path), LandingRecord(stream_bytes=stream_bytes))

    def landed(self, kind: EventKind, day: date) -> SourceState | None:
        """Raw file of a day as it is now, and how much of the segments it holds; ``None`` when there is none."""
        record = _read(self._layout.record(self._layout.raw_events(self._name, kind.name, day)), LandingRecord)
        found = self.source(kind, day)
        return found and found.model_copy(update={"stream_bytes": record.stream_bytes if record else 0})

    def rows_of_features(self, view: FeatureView, day: date) -> str:
        """Fingerprint of the rows of a partition as it lies there."""
        return rows_fingerprint(self._layout.features(self._name, view.name, day))

    def source(self, kind: EventKind, day: date, known: SourceState | None = None) -> SourceState | None:
        """Raw file and segments of a day as they are now; ``None`` when there is no raw file.

        Args:
            known: an earlier state; a file of the same size and time of modification is not read again.
        """
        path = self._layout.raw_events(self._name, kind.name, day)
        segments = _segments(self._layout.stream(self._name, kind.name, day)) if kind.topic else []
        try:
            status = path.stat()
            seen = (status.st_size, status.st_mtime_ns)
            if known is not None and seen == (known.n_bytes, known.mtime_ns):
                sha256 = known.sha256
            else:
                with path.open("rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None
        return SourceState(
            n_bytes=seen[0],
            mtime_ns=seen[1],
            sha256=sha256,
            stream_bytes=sum(segment.st_size for segment in segments),
            stream_mtime_ns=max((segment.st_mtime_ns for segment in segments), default=0),
        )


def _records(folder: Path, kind: type[Record]) -> Iterator[tuple[date, Record]]:
    for path in sorted(folder.glob("dt=*/data.parquet")):
        record = _read(Layout.record(path), kind)
        if record is not None:
            yield date.fromisoformat(path.parent.name.removeprefix("dt=")), record


def _read(path: Path, kind: type[Record]) -> Record | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _write(path: Path, record: BaseModel) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex}")
    try:
        beside.write_text(record.model_dump_json(), encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _segments(folder: Path) -> list[os.stat_result]:
    return [path.stat() for path in folder.glob("*.jsonl")]
