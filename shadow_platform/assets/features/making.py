"""What a run does with the days of a view: compute, compare with what is there, replace what differs, note it.

Belongs here: the order of these steps, so that a run that is killed anywhere leaves whole days and is made good by the
next one. Does not belong here: telling Dagster (``views``). Upstream: events, records of partitions. Downstream: views.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

import pandas as pd

from shadow_platform.contracts.partition_records import FeaturesRecord
from shadow_platform.contracts.use_case import FeatureView, UseCase
from shadow_platform.domain.features import by_day, inputs_fingerprint, inputs_read, kinds_read, violations
from shadow_platform.domain.features.history import DAYS_BEFORE, without_values
from shadow_platform.partitions import INSTANT, end_of, start_of
from shadow_platform.resources import PlatformResource


class Making:
    """One run over some days of a view.

    Attributes:
        records: of every day of the view, those of this run included once they are made.
        rewritten: days whose rows differ from what was there.
    """

    def __init__(self, platform: PlatformResource, use_case: UseCase, view: FeatureView) -> None:
        self._platform, self._use_case, self._view = platform, use_case, view
        self._features = use_case.view_features(view.name)
        self._notes = platform.partition_records(use_case)
        events = {kind.name: self._notes.events(kind) for kind in kinds_read(view, use_case.events)}
        self._versions = {kind: {day: record.fingerprint for day, record in of.items()} for kind, of in events.items()}
        self._misshapen = {
            kind: {day: record.fingerprint for day, record in of.items() if record.is_misshapen}
            for kind, of in events.items()
        }
        self.records: dict[date, FeaturesRecord] = self._notes.features(view)
        self.rewritten: list[date] = []

    def compute(self, run: Sequence[date]) -> pd.DataFrame:
        """Rows with ``event_at`` in the days of a run.

        The SQL's window is open below and closed above; an instant earlier at both ends makes it the whole days, so
        that the row of midnight needs no event of a day that has not yet been received.
        """
        start, end = self._window(run)
        start, end = start - INSTANT, end - INSTANT
        return self._platform.lake().events_sql(
            self._view.sql,
            self._use_case,
            self._use_case.events,
            {"start": start, "end": end},
            start=start - self._view.lookback,
            end=end,
        )

    def violations(self, rows: pd.DataFrame, run: Sequence[date]) -> list[str]:
        """What is wrong with the rows of a run, in words."""
        return violations(rows, self._view.entity, self._features, *self._window(run))

    def counts(
        self, rows: pd.DataFrame, run: Sequence[date], accepted: Sequence[str] = ()
    ) -> dict[date, tuple[pd.DataFrame, FeaturesRecord]]:
        """Rows of every day, and its record but for the fingerprint of what is written.

        Args:
            accepted: features that may be without any value; what was accepted of a day before stays so.
        """
        counted = {}
        for day, part in by_day(rows, run).items():
            record, known = self._counted(day, part), self.records.get(day)
            names = {*accepted, *(known.accepted if known else ())}
            granted = tuple(name for name in without_values(record) if name in names)
            counted[day] = part, record.model_copy(update={"accepted": granted})
        return counted

    def before(self, day: date, also: dict[date, FeaturesRecord]) -> list[FeaturesRecord]:
        """Records of the days before a day, those of the run among them."""
        days = [day - timedelta(days=n) for n in range(1, DAYS_BEFORE + 1)]
        return [record for d in days if (record := also.get(d) or self.records.get(d)) is not None]

    def replace(self, counted: dict[date, tuple[pd.DataFrame, FeaturesRecord]]) -> Iterator[tuple[date, bool]]:
        """Write the days that differ, publish those that other machines lack, note all.

        A copy that was lost, or that a killed run did not make, is made by the next run of its day.

        Yields:
            Every day and whether it was rewritten.
        """
        lake, made = self._platform.lake(), dict[date, FeaturesRecord]()
        for day, (rows, record) in counted.items():
            lake.write_features(self._use_case, self._view, day, rows)
            written = self._notes.rows_of_features(self._view, day)
            made[day] = record.model_copy(update={"fingerprint": written})
            known = self.records.get(day)
            if known is None or known.fingerprint != written:
                self.rewritten.append(day)
        store = self._platform.feature_store(self._use_case)
        store.publish(self._view, [day for day in store.unpublished(self._view) if day in made])
        for day, record in made.items():
            self._notes.note_features(self._view, day, record)
            self.records[day] = record
            yield day, day in self.rewritten

    def _counted(self, day: date, rows: pd.DataFrame) -> FeaturesRecord:
        nulls = rows[[feature.name for feature in self._features]].isna().sum()
        return FeaturesRecord(
            fingerprint="",
            inputs=inputs_fingerprint(self._view, day, self._versions),
            n_rows=len(rows),
            n_entities=int(rows[self._view.entity].nunique()),
            nulls={str(name): int(n) for name, n in nulls.items() if n},
            misshapen=tuple(inputs_read(self._view, day, self._misshapen)),
        )

    @staticmethod
    def _window(run: Sequence[date]) -> tuple[datetime, datetime]:
        return start_of(run[0]), end_of(run[-1])
