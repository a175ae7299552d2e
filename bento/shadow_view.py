"""What ``GET /shadow/*`` shows: the tail of each challenger's shadow log, followed as it grows.

Upstream: shadow log, prediction log, deployment manifest. Downstream: ``bento.app``, which calls it beside the event
loop. Holds the latest records only; the whole history is in the warehouse's tables.
"""

import threading
from collections import deque
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from bento.offsets import advance, count_waiting, predictions_since, shadow_records, shadow_root
from shadow_platform.adapters.log import FileLogSource
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.errors import RequestError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import ShadowRecord
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving import rfc3339
from shadow_platform.domain.shadow import present, summarise

KEPT_RECORDS = 20_000
MAX_LOGS = 1000
MAX_WAITING = 100_000
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Lane:
    """One challenger's log, read once and then followed."""

    def __init__(self, layout: Layout, use_case: str, deployed: DeployedModel) -> None:
        self.deployed = deployed
        self.since = rfc3339(deployed.since)
        self.recent: deque[ShadowRecord] = deque(maxlen=KEPT_RECORDS)
        self._source = FileLogSource(shadow_root(layout, use_case, deployed.version))
        self._position: dict[str, int] = {}
        self._after: dict[str, int] = {}
        self._predictions = predictions_since(layout, use_case, deployed.since)

    def follow(self) -> None:
        for record in shadow_records(self._source, self._position):
            advance(self._after, record)
            self.recent.append(record)

    def lag(self, now: datetime) -> dict[str, Any]:
        n, first = count_waiting(self._predictions, self._after, self.since, MAX_WAITING)
        seconds = 0.0 if first is None else max(0.0, (now - datetime.fromisoformat(first)).total_seconds())
        return {"lag_records": n, "lag_s": seconds}


class ShadowView:
    """Latest comparisons of the challengers in the manifest."""

    def __init__(self, layout: Layout, use_case: UseCase) -> None:
        self._layout = layout
        self._use_case = use_case
        self._lanes: dict[tuple[str, datetime], _Lane] = {}
        self._lock = threading.Lock()

    def logs(self, manifest: DeploymentManifest, limit: str | None, since: str | None) -> dict[str, Any]:
        """Latest records, newest first; raises ``RequestError``."""
        n = _parse_limit(limit)
        start = None if since is None else _parse_since(since)
        with self._lock:
            records = [record for lane in self._follow(manifest) for record in lane.recent]
        records.sort(key=lambda record: record.compared_at, reverse=True)
        wanted = (record for record in records if start is None or record.compared_at >= start)
        spec, subject = self._use_case.answer, self._use_case.subject
        return {"records": [present(record, subject, spec) for record in islice(wanted, n)]}

    def comparison(self, manifest: DeploymentManifest, window: str | None, now: datetime) -> dict[str, Any]:
        """Summary of each challenger's records compared within the window; raises ``RequestError``."""
        length = _parse_window(window or "24h")
        start = rfc3339(now - length)
        challengers = []
        with self._lock:
            for lane in self._follow(manifest):
                records = [record for record in lane.recent if record.compared_at >= start]
                entry = {"version": lane.deployed.version, "model_name": lane.deployed.model_name, "since": lane.since}
                challengers.append({**entry, **summarise(records), **lane.lag(now)})
        return {
            "use_case": self._use_case.name,
            "champion_version": manifest.champion.version,
            "window_s": length.total_seconds(),
            "at_most_records": KEPT_RECORDS,
            "challengers": challengers,
        }

    def _follow(self, manifest: DeploymentManifest) -> list[_Lane]:
        wanted = {(model.version, model.since): model for model in manifest.challengers}
        self._lanes = {key: lane for key, lane in self._lanes.items() if key in wanted}
        for key, model in wanted.items():
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = _Lane(self._layout, self._use_case.name, model)
            lane.follow()
        return list(self._lanes.values())


def _parse_window(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if unit in UNITS and number.isdecimal() and 0 < int(number) * UNITS[unit] <= 366 * UNITS["d"]:
        return timedelta(seconds=int(number) * UNITS[unit])
    raise _invalid("window", f"is {text[:40]!r}; expected a number and s, m, h or d, at most 366d, such as 24h")


def _parse_limit(text: str | None) -> int:
    if text is None:
        return 100
    if text.isdecimal() and 1 <= int(text) <= MAX_LOGS:
        return int(text)
    raise _invalid("limit", f"is {text[:40]!r}; expected 1 to {MAX_LOGS}")


def _parse_since(text: str) -> str:
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise _invalid("since", f"is {text[:40]!r}; expected RFC 3339, such as 2024-01-15T10:30:00Z")
    return rfc3339(at.astimezone(UTC))


def _invalid(field: str, message: str) -> RequestError:
    return RequestError([{"field": field, "message": message}])
