"""What comes in: events, features, requests and labels of a use case, real or simulated.

Upstream: ``home``, adapters, and ``domain.labels``, which two stages share. Downstream: ``PlatformResource``.
"""

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from shadow_platform.contracts.errors import UseCaseError
from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.contracts.use_case import EventSource, UseCase
from shadow_platform.domain.labels import CombinedLabels, combine, hidden_among
from shadow_platform.partitions import require_days
from shadow_platform.resources.home import Home

if TYPE_CHECKING:
    import pandas as pd

    from shadow_platform.adapters.feature_store import FeastStore
    from shadow_platform.adapters.lake.partition_records import PartitionRecords
    from shadow_platform.adapters.stream_log import StreamLog


class World(Home):
    """Events, features, requests and labels."""

    def partition_records(self, use_case: UseCase) -> "PartitionRecords":
        """What is noted beside the partitions of events and features."""
        from shadow_platform.adapters.lake.partition_records import PartitionRecords

        return PartitionRecords(self.layout, use_case)

    def column_lineage(self, *query: Any) -> dict[str, tuple[tuple[str, str], ...]]:
        """Table and column behind each column of a query; arguments as ``adapters.sql_lineage``."""
        from shadow_platform.adapters.sql_lineage import column_lineage

        return column_lineage(*query)

    def simulation_plan(self, use_case: UseCase) -> SimulationPlan | None:
        """Complete plan of the simulation that this home plays; ``None`` when the events are real."""
        if use_case.simulation is None:
            return None
        path, default = self.layout.simulation(use_case.name), use_case.simulation.default
        if not path.exists():
            return default
        try:
            return SimulationPlan.model_validate_json(path.read_bytes()).or_default(default)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise UseCaseError(
                f"{path} is no simulation plan ({faults}); write it anew with `shadow simulation set`"
            ) from error

    def event_source(self, use_case: UseCase) -> EventSource:
        """Where the raw events of this home come from."""
        plan = self.simulation_plan(use_case)
        return use_case.source() if plan is None or use_case.simulation is None else use_case.simulation.open(plan)

    def stream_logs(self, use_case: UseCase) -> "dict[str, StreamLog]":
        """Messages consumed so far, by event kind, of the kinds that a stream brings; none without a broker."""
        from shadow_platform.adapters.stream_log import StreamLog

        kinds = [kind.name for kind in use_case.events if kind.topic and self.settings.kafka_bootstrap_servers]
        return {kind: StreamLog(self.layout.stream(use_case.name, kind)) for kind in kinds}

    def require_events(self, use_case: UseCase, first: date, last: date) -> None:
        """Raise ``NotEnoughData`` unless every kind of event is there from first to last day."""
        for kind in use_case.events:
            require_days(f"events {kind.name}", self.lake().event_days(use_case, kind), first, last)

    def logged_hours(self, use_case: UseCase, since: datetime) -> list[datetime]:
        """Starts of the hours from one on in which requests were answered, oldest first."""
        from shadow_platform.adapters.log import FileLogSource

        segments = FileLogSource(self.layout.log("predictions", use_case.name), since).segments()
        hours = {segment.rpartition("/")[0] for segment, size in segments if size > 0}
        return sorted(datetime.strptime(hour, "dt=%Y-%m-%d/hour=%H").replace(tzinfo=UTC) for hour in hours)

    def labels_of(
        self, use_case: UseCase, requests: "pd.DataFrame", known_from: datetime, as_of: datetime
    ) -> CombinedLabels:
        """Labels known in ``[known_from, as_of]``: what events tell of the requests, and what was imported.

        Those of outcomes that a decision hid are left out, wherever they come from.
        """
        lake = self.lake()
        lookback = max((view.lookback for view in use_case.views), default=timedelta(0))
        computed = lake.events_sql(
            use_case.label.sql,
            use_case,
            use_case.events,
            {"as_of": as_of},
            start=(requests["requested_at"].min() if len(requests) else as_of) - lookback,
            end=as_of,
            extra={"requests": requests},
        )
        computed = computed[computed["known_at"] >= known_from]
        imported = lake.label_imports(use_case).known_in(known_from, as_of)
        oldest = [labels["requested_at"].min().date() for labels in (computed, imported) if len(labels)]
        hidden = None
        if use_case.label.hidden_by == "platform" and oldest:
            # A request and its event are told by two clocks, so that they may lie on two days.
            answers = lake.hidden_requests(use_case, min(oldest) - timedelta(days=1), as_of.date())
            hidden = hidden_among(requests, answers, use_case.envelope)
        return combine(computed, imported, hidden)

    def feature_store(self, use_case: UseCase) -> "FeastStore":
        """Feast, for one use case."""
        from shadow_platform.adapters.feature_store import FeastStore

        return FeastStore(self.layout, self.settings.feast_repo_path, use_case, self.settings.stores)
