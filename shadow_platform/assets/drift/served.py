"""What a drift verdict compares: the champion's frozen reference, and served requests, as rows or as counts.

Belongs here: reading. Does not belong here: which hours a window is (domain.drift.references), deciding (``judging``).
Upstream: predictions, stored profiles, the champion's bundle. Downstream: ``judging``, ``report``.
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from shadow_platform.assets.drift.profiles import champion_of, stored_profiles
from shadow_platform.contracts.tables import PREDICTIONS
from shadow_platform.contracts.use_case import DriftPolicy, UseCase
from shadow_platform.domain.drift.profiles import Profiles, empty_profiles, merge, profiles_of
from shadow_platform.domain.drift.references import Span, window_by_count, window_by_time
from shadow_platform.partitions import end_of, start_of
from shadow_platform.resources import PlatformResource
from shadow_platform.resources.policies import drift_policy

if TYPE_CHECKING:
    from shadow_platform.adapters.bundle import Bundle

REPORT_ROWS = 100_000


class Served:
    """The frozen reference, and the served requests of any hours.

    Days are read once while windows, asked for in order of time, touch them: those of a backfill share most days.

    Args:
        keep: write hours that are counted on the way into the tables.
    """

    def __init__(self, platform: PlatformResource, use_case: UseCase, *, keep: bool = True) -> None:
        champion = champion_of(platform, use_case)
        self.use_case, self.platform, self.lake = use_case, platform, platform.lake()
        self.bundle_hash, self.reference, self.grid = champion.bundle_hash, champion.reference, champion.grid
        self.policy = drift_policy(platform.settings, use_case)
        self._hours: dict[date, dict[datetime, int]] = {}
        self._rows: dict[date, pd.DataFrame] = {}
        self._counts: dict[date, Profiles] = {}
        self._compared: set[date] = set()
        self._keep = keep

    @cached_property
    def bundle(self) -> "Bundle":
        """The champion, ready to score."""
        return self.platform.bundles().load(self.bundle_hash)

    @property
    def made(self) -> list[date]:
        """Days whose requests are in a partition of predictions, in order."""
        return self.lake.table_days(PREDICTIONS, self.use_case)

    @cached_property
    def reference_profiles(self) -> Profiles:
        """The frozen reference, counted."""
        return profiles_of(self.reference, self.grid)

    def span(self, end: datetime, policy: DriftPolicy) -> Span | None:
        """The window that ends with ``end``; ``None`` when the requests before are too few for one by count."""
        if policy.window_rows is None:
            return window_by_time(policy, end)
        hours: dict[datetime, int] = {}
        for day in reversed(self.made):
            hours |= {hour: n for hour, n in self._hours_of(day).items() if hour < end}
            if sum(hours.values()) >= policy.window_rows:
                break
        return window_by_count(hours, policy.window_rows, end)

    def n_rows(self, span: Span) -> int:
        """Requests of a span."""
        return sum(n for day in span.days for hour, n in self._hours_of(day).items() if span.start <= hour < span.end)

    def first_known(self, since: datetime) -> datetime | None:
        """Start of the first hour from a time on that has a request; ``None`` without any."""
        days = (day for day in self.made if end_of(day) > since)
        return next((hour for day in days for hour in sorted(self._hours_of(day)) if hour >= since), None)

    def window(self, day: date) -> pd.DataFrame:
        """Requests of the window that ends with ``day``; of a large one, a part, always the same."""
        return self.rows([self.window_span(day)], REPORT_ROWS)

    def window_span(self, day: date) -> Span:
        """The window that ends with ``day``; by time, when the requests are too few for one by count."""
        return self.span(end_of(day), self.policy) or window_by_time(self.policy, end_of(day))

    def rows(self, spans: Iterable[Span], at_most: int) -> pd.DataFrame:
        """Requests of the spans: a column a feature as served, ``score`` and ``requested_at``.

        The score is null where another bundle answered: scores of two models differ without any drift. Of more rows
        than asked for, about so many are read, by the hash of their ids. A feature no record mentions is left out.
        """
        chosen = list(spans)
        one_in = max(1, -(-sum(self.n_rows(span) for span in chosen) // max(at_most, 1)))
        parts = [self._sampled(span, one_in) if one_in > 1 else self._all(span) for span in chosen]
        return pd.concat([self._no_rows, *(part for part in parts if len(part))], ignore_index=True)

    def profiles(self, spans: Iterable[Span]) -> Profiles:
        """Requests of the spans by day, counted in the cells of the frozen reference."""
        return merge([empty_profiles(self.grid), *(part for span in spans for part in self._counted(span))])

    def _counted(self, span: Span) -> Iterator[Profiles]:
        for day in _forgotten(self._counts, span):
            if span.start <= start_of(day) and end_of(day) <= span.end:
                if day not in self._counts:
                    self._counts[day] = self._stored(start_of(day), end_of(day))
                yield self._counts[day]
            else:
                yield self._stored(max(span.start, start_of(day)), min(span.end, end_of(day)))

    def _stored(self, start: datetime, end: datetime) -> Profiles:
        """Requests of one day, or of a part of it; compared with their counts once."""
        asked = self.platform, self.use_case, self.grid, self.bundle_hash
        profiles = stored_profiles(*asked, start, end, self._compared, keep=self._keep)
        if self._keep:
            self._compared.add(start.date())
        return profiles

    @property
    def _no_rows(self) -> pd.DataFrame:
        times = pd.Series([], dtype="datetime64[us, UTC]")
        return pd.DataFrame({"score": pd.Series([], dtype="float64"), "requested_at": times})

    def _all(self, span: Span) -> pd.DataFrame:
        parts = [self._no_rows]
        for day in _forgotten(self._rows, span):
            if self._hours_of(day):
                if day not in self._rows:
                    self._rows[day] = self._sampled(Span(start_of(day), end_of(day)))
                parts.append(self._rows[day])
        rows = pd.concat(parts, ignore_index=True)
        return rows[(rows["requested_at"] >= span.start) & (rows["requested_at"] < span.end)]

    def _sampled(self, span: Span, one_in: int = 1) -> pd.DataFrame:
        asked = self.use_case, span.start, span.end
        batches = self.lake.undisturbed(*asked, lambda: list(self.lake.request_batches(*asked, one_in=one_in)))
        parts = [
            batch.assign(score=batch["score"].where(batch["bundle_hash"] == self.bundle_hash)) for batch in batches
        ]
        return pd.concat([self._no_rows, *parts], ignore_index=True).drop(columns="bundle_hash", errors="ignore")

    def _hours_of(self, day: date) -> dict[datetime, int]:
        if day not in self._hours:
            times = self.lake.read_table(PREDICTIONS, self.use_case, day, end_of(day).date(), ["requested_at"])
            counts = times["requested_at"].dt.floor("h").value_counts()
            self._hours[day] = {hour.to_pydatetime(): int(n) for hour, n in counts.items()}
        return self._hours[day]


def _forgotten(kept: dict[date, Any], span: Span) -> list[date]:
    """Days of a span; what is kept of days before it is dropped, so that a backfill holds one window at a time."""
    for day in [day for day in kept if day < span.start.date()]:
        del kept[day]
    return span.days
