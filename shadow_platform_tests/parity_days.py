"""Days of the tiny use case that were really served, each with another fault of the features.

Events and features are made by the assets, rows come online hour by hour, a service answers over HTTP, the log becomes
a table. Belongs here: the days and their faults. Does not belong here: assertions. Upstream: tiny, bento, Feast.
Downstream: tests of the parity asset.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import httpx
import pandas as pd

from bento.serve import free_port, running_service
from shadow_platform.adapters.deployment import write_manifest
from shadow_platform.assets.comparison import build_comparison_assets
from shadow_platform.assets.events import build_event_assets
from shadow_platform.assets.features import build_feature_assets
from shadow_platform.assets.parity import build_parity_assets
from shadow_platform.cli.traffic import recorded_requests
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving.bodies import request_bodies
from shadow_platform.partitions import end_of, partition_range, start_of
from shadow_platform.resources import PlatformResource
from shadow_platform_tests import tiny
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import settings_at

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TINY = tiny.USE_CASE
# Purchases are unknown now and then, so that there are nulls to fill.
_SQL = TINY.views[0].sql.replace(
    "visits_7d, purchases_7d\nFROM",
    "visits_7d, CASE WHEN visits_7d % 3 > 0 THEN purchases_7d END AS purchases_7d\nFROM",
)
NAME = "shadow_platform_tests.parity_days:USE_CASE"
USE_CASE: UseCase = replace(TINY, views=(replace(TINY.views[0], sql=_SQL),))
SHORT_NAME = "shadow_platform_tests.parity_days:SHORT_LIVED"
SHORT_LIVED: UseCase = replace(USE_CASE, views=(replace(USE_CASE.views[0], ttl=timedelta(hours=2)),))
RECODED: UseCase = replace(
    USE_CASE, views=(replace(USE_CASE.views[0], sql=_SQL.replace("(sum(visits) OVER", "(10 + sum(visits) OVER")),)
)
VIEW = USE_CASE.views[0]
FIRST = tiny.FIRST_DAY
# What a fault leaves behind, online or in the lake, is older than the time to live on the next day that could see it.
EXPIRED, CLEAN, STALE, FILLED, SHIFTED, CHANGED, LATE = (FIRST + DAY * n for n in (9, 10, 11, 12, 16, 20, 24))
LAST = LATE
Fault = Callable[[pd.DataFrame], pd.DataFrame]
WAIT_S = 60.0
"""For one answer: a lookup that a busy machine delays must not be imputed, which would be a fault nobody made."""


def _kept(rows: pd.DataFrame) -> pd.DataFrame:
    return rows


def _nothing(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[:0]


def _filled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.fillna({"purchases_7d": 0.0})


def _an_hour_late(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(event_at=rows["event_at"] + HOUR, created_at=rows["created_at"] + HOUR)


FAULTS: Mapping[date, tuple[str, Fault]] = {
    EXPIRED: (SHORT_NAME, _kept),
    CLEAN: (NAME, _kept),
    STALE: (NAME, _nothing),
    FILLED: (NAME, _filled),
    SHIFTED: (NAME, _an_hour_late),
    CHANGED: (NAME, _kept),
    LATE: (NAME, _kept),
}


@dataclass
class ServedDays:
    """A home in which each of the days has been served with its fault."""

    home: Path
    instance: dg.DagsterInstance

    @property
    def platform(self) -> PlatformResource:
        return PlatformResource(shadow_home=str(self.home))

    def materialize(self, first: date, last: date, *names: str, use_case: UseCase = USE_CASE) -> None:
        """Run assets over days."""
        self.run(first, last, *names, use_case=use_case)

    def run(self, first: date, last: date, *names: str, use_case: UseCase = USE_CASE) -> dg.ExecuteInProcessResult:
        """Run assets over days; what Dagster tells of it."""
        builders = (build_event_assets, build_feature_assets, build_comparison_assets, build_parity_assets)
        return dg.materialize(
            [asset for build in builders for asset in build(use_case)],
            selection=[dg.AssetKey([use_case.name, name]) for name in names],
            instance=self.instance,
            resources={"platform": self.platform},
            tags=partition_range(first, last),
        )

    def serve(self) -> "ServedDays":
        """Make features, answer the requests of every day with its fault, and let come what comes late."""
        self.materialize(FIRST, LAST, "raw_events")
        held_back = self._hold_back_visits(LATE)
        self.materialize(FIRST, LAST, "events", "quarantined_events", VIEW.name)
        self._run_definitions(USE_CASE)
        self._deploy()
        settings = settings_at(self.home, online_timeout_ms=1_000 * WAIT_S)
        for name, days in _by_service():
            with (
                running_service(settings, name, free_port(), shadow=False, guard=False) as service,
                httpx.Client(base_url=service.url, timeout=2 * WAIT_S) as client,
            ):
                for day in days:
                    self._serve_day(client, day, FAULTS[day][1])
        held_back()
        self.materialize(LATE, LATE, "events", "quarantined_events", VIEW.name)
        self.materialize(CHANGED, CHANGED, VIEW.name, use_case=RECODED)
        self.materialize(FIRST, LAST, "predictions")
        return self

    def _hold_back_visits(self, day: date) -> Callable[[], None]:
        """Every second visit of a day is not there yet; called, it comes."""
        path = self.platform.layout.raw_events(USE_CASE.name, "visits", day)
        content = path.read_bytes()
        path.write_bytes(b"".join(content.splitlines(keepends=True)[::2]))

        def come() -> None:
            path.write_bytes(content)

        return come

    def _run_definitions(self, use_case: UseCase) -> None:
        dg.materialize(
            build_feature_assets(use_case),
            selection=[dg.AssetKey([use_case.name, "feature_definitions"])],
            instance=self.instance,
            resources={"platform": self.platform},
        )

    def _deploy(self) -> None:
        layout, now = self.platform.layout, datetime.now(UTC)
        digest = line_bundle(layout.bundles, use_case=USE_CASE.name)
        champion = DeployedModel(version="1", bundle_hash=digest, model_name="line", since=now)
        manifest = DeploymentManifest(use_case=USE_CASE.name, generation=1, champion=champion, written_at=now)
        write_manifest(layout.manifest(USE_CASE.name), manifest)

    def _serve_day(self, client: httpx.Client, day: date, fault: Fault) -> None:
        lake, store = self.platform.lake(), self.platform.feature_store(USE_CASE)
        rows = lake.read_features(USE_CASE, VIEW, day - VIEW.ttl - DAY, end_of(day).date())
        requests = recorded_requests(lake, USE_CASE, start_of(day), end_of(day)).iloc[::4].reset_index(drop=True)
        bodies = request_bodies(USE_CASE, requests)
        store.write_online(VIEW, rows[rows["event_at"] < start_of(day)])
        for at in (start_of(day) + HOUR * hour for hour in range(24)):
            changed = fault(rows)
            store.write_online(VIEW, changed[changed["event_at"] == at])
            is_due = (requests["requested_at"] >= at) & (requests["requested_at"] < at + HOUR)
            for place in is_due[is_due].index:
                as_of = requests["requested_at"][place].isoformat()
                answer = client.post("/predict", content=bodies[place], headers={"X-As-Of": as_of})
                assert answer.status_code == 200, answer.text


def _by_service() -> Iterator[tuple[str, list[date]]]:
    """Service and its days, in order of time."""
    for name in (SHORT_NAME, NAME):
        yield name, [day for day, (served_by, _) in FAULTS.items() if served_by == name]
