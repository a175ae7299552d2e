"""Samples of disks, and of the warehouse's file.

Belongs here: what the file system says. Does not belong here: what is in a file. Upstream: the home folder. Downstream:
the collector.
"""

import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from shadow_platform.contracts import metrics
from shadow_platform.exporter.readings import Reader, Sample


class FileReaders:
    """Reads what the file system says of some folders and of the warehouse."""

    def __init__(self, folders: Sequence[Path], warehouse: Path, now: Callable[[], datetime]) -> None:
        self._folders, self._warehouse, self._now = folders, warehouse, now

    def readers(self) -> list[Reader]:
        """One reader a source."""
        return [Reader("disk", self.disk), Reader("warehouse", self.warehouse)]

    def disk(self) -> Iterable[Sample]:
        """Size and free space of each folder's device."""
        for folder in self._folders:
            usage = shutil.disk_usage(folder)
            yield Sample(metrics.DISK_FREE, usage.free, (str(folder),))
            yield Sample(metrics.DISK_SIZE, usage.total, (str(folder),))

    def warehouse(self) -> Iterable[Sample]:
        """Age of the warehouse; nothing before it was published."""
        if self._warehouse.exists():
            age_s = self._now().timestamp() - self._warehouse.stat().st_mtime
            yield Sample(metrics.WAREHOUSE_AGE, max(age_s, 0.0))
