"""The sources of one home: which readers take turns, and how often they read.

Belongs here: putting readers together. Does not belong here: reading. Upstream: the platform resource, the use cases.
Downstream: ``shadow metrics``.
"""

from collections.abc import Callable, Iterable, Sequence

import dagster as dg

from shadow_platform.contracts.use_case import UseCase
from shadow_platform.exporter.files import FileReaders
from shadow_platform.exporter.instance import InstanceReaders
from shadow_platform.exporter.readings import Lane, Reader, Sample
from shadow_platform.exporter.tables import UseCaseTables
from shadow_platform.jobs import build_jobs
from shadow_platform.resources import PlatformResource

REFRESH_S = 30.0
STALE_AFTER = 4
"""Refreshments that may be missed before what a hanging source said last is forgotten."""


def lanes_of(
    platform: PlatformResource,
    use_cases: Sequence[UseCase],
    instance: Callable[[], dg.DagsterInstance | None],
    refresh_s: float = REFRESH_S,
) -> list[Lane]:
    """Every source of a home in three lanes: tables, Dagster, files. Disks are looked at in every scrape.

    Args:
        instance: as ``InstanceReaders`` takes it.
    """
    folders = [platform.layout.home]
    if platform.settings.shadow_shared is not None:
        folders.append(platform.settings.shadow_shared.resolve())
    files = FileReaders(folders, platform.layout.warehouse, platform.now).readers()
    jobs = [job.name for use_case in use_cases for job in build_jobs(use_case).values()]
    tables = [reader for use_case in use_cases for reader in _when_used(platform, use_case)]
    stale_s = STALE_AFTER * refresh_s
    return [
        Lane(tuple(tables), refresh_s, stale_s),
        Lane(tuple(InstanceReaders(instance, jobs).readers()), refresh_s, stale_s),
        Lane(tuple(files), 0.0, stale_s),
    ]


def _when_used(platform: PlatformResource, use_case: UseCase) -> list[Reader]:
    """Readers of a use case that say nothing while this home has nothing of it."""

    def guarded(read: Callable[[], Iterable[Sample]]) -> Callable[[], Iterable[Sample]]:
        return lambda: read() if _is_used(platform, use_case) else ()

    return [Reader(reader.source, guarded(reader.read)) for reader in UseCaseTables(platform, use_case).readers()]


def _is_used(platform: PlatformResource, use_case: UseCase) -> bool:
    layout = platform.layout
    if layout.manifest(use_case.name).exists() or layout.log("predictions", use_case.name).exists():
        return True
    return next(layout.tables.glob(f"*/use_case={use_case.name}"), None) is not None
