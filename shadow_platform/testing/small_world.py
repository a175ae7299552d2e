"""The first days of a use case, few and small enough for tests, and long enough for its labels and windows.

Belongs here: how many days and entities the contract looks at. Does not belong here: rules. Upstream: tables.
Downstream: every rule of the contract.
"""

from datetime import date, timedelta
from functools import cached_property

import pandas as pd

from shadow_platform.contracts.simulation import Simulation, SimulationPlan
from shadow_platform.contracts.use_case import EventSource, FeatureView, UseCase
from shadow_platform.testing.tables import Rows, Tables, accepted, received, requests_of, run

DAY = timedelta(days=1)
LONGEST_LOOKBACK = timedelta(days=100)
RECORDED_REQUEST_DAYS, SIMULATED_REQUEST_DAYS = 10, 30
SMALL_SHARE = 4


class SmallWorld:
    """Events of the first days of a use case and what its SQL makes of them. Callers must not change the frames.

    Attributes:
        n_days: enough for the longest lookback (at most 100 days), and for days of requests whose labels have matured.
        edge: a day before the end, so that windows and cutoffs around it have a past and a future.
    """

    def __init__(self, use_case: UseCase, n_entities: int | None = None) -> None:
        self.use_case = use_case
        self.n_entities = n_entities
        self.source: EventSource = self.simulation.simulator(self.plan()) if use_case.simulation else use_case.source()
        lookback = min(max((view.lookback for view in use_case.views), default=DAY), LONGEST_LOOKBACK)
        request_days = SIMULATED_REQUEST_DAYS if use_case.simulation else RECORDED_REQUEST_DAYS
        wanted = max(_whole_days(lookback) + 5, _whole_days(use_case.label.horizon) + request_days)
        recorded = (self.source.last_day() - self.source.first_day()).days + 1
        self.n_days = min(wanted, recorded)
        self.start = pd.Timestamp(self.source.first_day(), tz="UTC")
        self.end = self.start + self.n_days * DAY
        self.edge = self.end - 3 * DAY

    @property
    def simulation(self) -> Simulation:
        """Its simulation; only of a use case that has one."""
        assert self.use_case.simulation is not None
        return self.use_case.simulation

    def plan(self, **changes: object) -> SimulationPlan:
        """Plan of a small world without drift, or with what is changed."""
        size = self.n_entities or max(1, (self.simulation.default.n_entities or 0) // SMALL_SHARE)
        return SimulationPlan.model_validate({"n_entities": size, "drifts": (), **changes})

    @property
    def days(self) -> list[date]:
        """The UTC days whose receipts are looked at."""
        return [self.start.date() + n * DAY for n in range(self.n_days)]

    @cached_property
    def rows(self) -> Rows:
        """Raw rows by event kind, in order of the day of receipt."""
        return received(self.source, self.use_case.events, self.days)

    @cached_property
    def tables(self) -> Tables:
        """Valid events by kind."""
        return {kind.name: accepted(kind, self.rows[kind.name]) for kind in self.use_case.events}

    @cached_property
    def view_rows(self) -> dict[str, pd.DataFrame]:
        """All feature rows of every view."""
        return {view.name: self.run_view(view, self.tables, self.start, self.end) for view in self.use_case.views}

    @cached_property
    def requests(self) -> pd.DataFrame:
        """All requests."""
        return requests_of(self.use_case, self.tables, self.start, self.end)

    @staticmethod
    def run_view(view: FeatureView, tables: Tables, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        """Feature rows with ``start < event_at <= end``, in order of time and entity."""
        rows = run(view.sql, tables, start=start, end=end)
        return rows.sort_values(["event_at", view.entity], ignore_index=True)


def _whole_days(span: timedelta) -> int:
    return -(-span // DAY)
