"""What ``GET /shadow/*`` shows: the tail of each challenger's shadow log, followed as it grows.

Upstream: shadow log, progress of the lanes, prediction log, deployment manifest. Downstream: ``bento.api.app``, which
calls it beside the event loop. Holds the latest records only, and reads no more of a long log than holds them; the
whole history is in the warehouse's tables.
"""

import threading
from collections import deque
from datetime import datetime
from itertools import islice
from typing import Any

from bento.query import parse_count, parse_since, parse_window
from bento.shadowing.lane_progress import read_progress
from bento.shadowing.offsets import (
    advance,
    count_waiting,
    is_replayed,
    predictions_since,
    shadow_records,
    shadow_root,
    skip_to_tail,
)
from shadow_platform.adapters.log import FileLogSource
from shadow_platform.contracts.deployment import DeployedModel, DeploymentManifest
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import ShadowRecord
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.serving import rfc3339
from shadow_platform.domain.shadow import present, summarise

KEPT_RECORDS = 20_000
TAIL_BYTES = KEPT_RECORDS * 1024
"""Most of a log that is read at once: about what holds the records that are kept."""
MAX_LOGS = 1000
MAX_WAITING = 10_000


class _Lane:
    """One challenger's log, its tail read once and then followed; a replay never pushes live records out."""

    def __init__(self, layout: Layout, use_case: str, deployed: DeployedModel) -> None:
        self.deployed = deployed
        self.since = rfc3339(deployed.since)
        self.recent: deque[ShadowRecord] = deque(maxlen=KEPT_RECORDS)
        self.replayed: deque[ShadowRecord] = deque(maxlen=MAX_LOGS)
        self._root = shadow_root(layout, use_case, deployed.version)
        self._source = FileLogSource(self._root)
        self._position: dict[str, int] = {}
        self._predictions = predictions_since(layout, use_case, deployed.since)
        self._progress_path = layout.shadow_progress(use_case, deployed.version)

    def follow(self) -> None:
        skip_to_tail(self._source, self._position, TAIL_BYTES, lambda segment: is_replayed(self._root / segment))
        for record in shadow_records(self._source, self._position):
            (self.replayed if record.is_replay else self.recent).append(record)

    def state(self, now: datetime) -> dict[str, Any]:
        """How it is sampled and limited, how far it is, and whether it is let alone."""
        progress = read_progress(self._progress_path)
        if progress is not None and progress.deployed.since != self.deployed.since:
            progress = None
        after = dict(progress.after) if progress else {}
        for record in self.recent:
            advance(after, record)
        n, first = count_waiting(self._predictions, after, self.since, MAX_WAITING)
        return {
            "sample_rate": self.deployed.sample_rate,
            "max_lag_s": self.deployed.max_lag_s,
            "circuit": progress.circuit if progress else None,
            "problem": progress.problem if progress else "no shadow worker has reported yet",
            "lag_records": n,
            "lag_s": 0.0 if first is None else max(0.0, (now - datetime.fromisoformat(first)).total_seconds()),
        }


class ShadowView:
    """Latest comparisons of the challengers in the manifest."""

    def __init__(self, layout: Layout, use_case: UseCase) -> None:
        self._layout = layout
        self._use_case = use_case
        self._lanes: dict[tuple[str, datetime], _Lane] = {}
        self._lock = threading.Lock()

    def logs(self, manifest: DeploymentManifest, limit: str | None, since: str | None) -> dict[str, Any]:
        """Latest records, newest first; raises ``RequestError``."""
        n = parse_count("limit", limit, 100, MAX_LOGS)
        start = None if since is None else rfc3339(parse_since(since))
        with self._lock:
            records = [record for lane in self._follow(manifest) for record in (*lane.recent, *lane.replayed)]
        records.sort(key=lambda record: record.compared_at, reverse=True)
        wanted = (record for record in records if start is None or record.compared_at >= start)
        spec, subject = self._use_case.answer, self._use_case.subject
        return {"records": [present(record, subject, spec) for record in islice(wanted, n)]}

    def comparison(self, manifest: DeploymentManifest, window: str | None, now: datetime) -> dict[str, Any]:
        """Summary of each challenger's live records compared within the window; raises ``RequestError``."""
        length = parse_window(window)
        start = rfc3339(now - length)
        challengers = []
        with self._lock:
            for lane in self._follow(manifest):
                records = [record for record in lane.recent if record.compared_at >= start]
                entry = {"version": lane.deployed.version, "model_name": lane.deployed.model_name, "since": lane.since}
                challengers.append({**entry, **lane.state(now), **summarise(records)})
        return {
            "use_case": self._use_case.name,
            "champion_version": manifest.champion.version,
            "window_s": length.total_seconds(),
            "at_most_records": KEPT_RECORDS,
            "at_most_lag_records": MAX_WAITING,
            "challengers": challengers,
        }

    def _follow(self, manifest: DeploymentManifest) -> list[_Lane]:
        wanted = {(model.version, model.since): model for model in manifest.challengers}
        self._lanes = {key: lane for key, lane in self._lanes.items() if key in wanted}
        for key, model in wanted.items():
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = _Lane(self._layout, self._use_case.name, model)
            lane.deployed = model
            lane.follow()
        return list(self._lanes.values())
