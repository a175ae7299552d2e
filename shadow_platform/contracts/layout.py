"""Where everything lies below ``SHADOW_HOME``, and below ``SHADOW_SHARED``; the only place that spells a path.

Upstream: settings. Downstream: adapters, bento, command line.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one home folder. Creates nothing.

    Attributes:
        home: what the processes of one machine write and read.
        shared: what says which model is in service, with its bundles, where another machine promotes into a folder
            that both see; ``None``: that is below ``home`` as well. Whoever only serves needs to read it, not to write.

    >>> Layout(Path("/data")).table("labels", "flights", date(2013, 3, 1)).as_posix()
    '/data/tables/labels/use_case=flights/dt=2013-03-01/data.parquet'
    """

    home: Path
    shared: Path | None = None

    @property
    def deployment(self) -> Path:
        """Folder of what decides which model is in service: manifests, rollouts, bundles and their lock."""
        return self.home if self.shared is None else self.shared

    def raw_events(self, use_case: str, kind: str, day: date) -> Path:
        """Raw event file of one kind and receipt day (JSON lines), as a source drops it."""
        return self.home / "raw" / use_case / kind / f"dt={day}" / "events.jsonl"

    def events(self, use_case: str, kind: str, day: date | None = None) -> Path:
        """Validated events: the folder of a kind, or the Parquet file of one receipt day."""
        folder = self.home / "lake" / "events" / use_case / kind
        return folder if day is None else folder / f"dt={day}" / "data.parquet"

    def stream(self, use_case: str, kind: str, day: date | None = None) -> Path:
        """Messages of a topic as consumed: the folder of an event kind, or of the UTC day they were stamped in."""
        folder = self.home / "stream" / use_case / kind
        return folder if day is None else folder / f"dt={day}"

    def features(self, use_case: str, view: str, day: date | None = None) -> Path:
        """Feature rows: the folder of a view, or the Parquet file of one day of ``event_at``."""
        folder = self.home / "lake" / "features" / use_case / view
        return folder if day is None else folder / f"dt={day}" / "data.parquet"

    @staticmethod
    def record(partition: Path) -> Path:
        """What is noted of a raw file, or of a partition of events or features, beside it (JSON)."""
        return partition.with_name("record.json")

    def online_record(self, use_case: str, view: str) -> Path:
        """What is noted of the rows of a view that were brought online (JSON)."""
        return self.features(use_case, view) / "online.json"

    def table(self, table: str, use_case: str, day: date) -> Path:
        """Parquet file of one daily partition of a published table."""
        return self.tables / table / f"use_case={use_case}" / f"dt={day}" / "data.parquet"

    @property
    def tables(self) -> Path:
        """Folder of the Parquet files behind ``warehouse.duckdb``."""
        return self.home / "tables"

    @property
    def warehouse(self) -> Path:
        """File of DuckDB views that analysts open."""
        return self.home / "warehouse.duckdb"

    def log(self, stream: str, use_case: str) -> Path:
        """Root of an append-only log: ``predictions``, ``failures``, ``shadow``, ``transitions`` or ``rollouts``."""
        return self.home / "log" / stream / f"use_case={use_case}"

    def frame(self, use_case: str, fingerprint: str) -> Path:
        """Exact training frame, by fingerprint."""
        return self.home / "frames" / use_case / f"{fingerprint}.parquet"

    def frame_record(self, use_case: str, fingerprint: str) -> Path:
        """Records of how a training frame came about (JSON), beside the frame."""
        return self.home / "frames" / use_case / f"{fingerprint}.json"

    def label_imports(self, use_case: str) -> Path:
        """Folder of imported labels: a Parquet file of the accepted and one of the refused rows an imported file."""
        return self.home / "labels" / use_case

    def simulation(self, use_case: str) -> Path:
        """Plan of the simulation that this home plays, if it is not the use case's own."""
        return self.home / "simulation" / f"{use_case}.json"

    def time_machine(self, use_case: str) -> Path:
        """Worlds and journeys of the time machine."""
        return self.home / "time_machine" / use_case

    @property
    def bundles(self) -> Path:
        """Folder of bundles, one folder a hash."""
        return self.deployment / "bundles"

    @property
    def bentos(self) -> Path:
        """BentoML's own home: its store of built Bentos."""
        return self.home / "bentoml"

    def manifest(self, use_case: str) -> Path:
        """Deployment manifest that serving workers watch."""
        return self.deployment / "serving" / f"{use_case}.json"

    def manifests(self) -> list[Path]:
        """Deployment manifests of all use cases that this home serves, by name."""
        return sorted(self.manifest("any").parent.glob("*.json"))

    def rollout(self, use_case: str) -> Path:
        """The rollout under way, or the last one that ended (JSON)."""
        return self.manifest(use_case).with_suffix(".rollout")

    def canary_evidence(self, use_case: str) -> Path:
        """What was read of a canary's step; a shortcut that can be made anew from the prediction log."""
        return self.home / "serving" / f"{use_case}.canary"

    def worker_states(self, use_case: str) -> Path:
        """Folder in which every serving worker keeps one file ``<pid>.json`` about itself."""
        return self.home / "serving" / f"{use_case}.workers"

    def idempotency(self, use_case: str) -> Path:
        """Answers by ``Idempotency-Key``, shared by the workers of one machine (SQLite)."""
        return self.home / "serving" / f"{use_case}.idempotency.db"

    def shadow_progress(self, use_case: str, version: str) -> Path:
        """How far one challenger's shadow worker came; a shortcut that can be made anew from its log."""
        return self.home / "serving" / f"{use_case}.shadow" / f"{version}.json"

    def relay_progress(self, use_case: str, stream: str) -> Path:
        """How far one log of this home was published; a shortcut: without it everything is published again."""
        return self.home / "serving" / f"{use_case}.relay" / f"{stream}.json"

    def skipped_lines(self, use_case: str, stream: str) -> Path:
        """Lines that landed in no segment, since what stands in front of them was lost; in files named as theirs."""
        return self.home / "serving" / f"{use_case}.skipped" / stream

    def reports(self, use_case: str) -> Path:
        """Folder of HTML reports and plots for people."""
        return self.home / "reports" / use_case

    def decision_page(self, use_case: str, decision_id: str) -> Path:
        """Page of one decision of the gate (HTML)."""
        return self.reports(use_case) / "gate" / f"{decision_id[:12]}.html"

    @property
    def evidently(self) -> Path:
        """Workspace of Evidently's own UI: a project a use case."""
        return self.home / "reports" / "evidently"

    @property
    def restoring(self) -> Path:
        """Folder that is here as long as a restore is not finished: until then nobody may use the home."""
        return self.home / ".restoring"

    def locks(self, name: str) -> Path:
        """Lock file of one piece of work that must not run twice at once."""
        return self.home / "locks" / f"{name}.lock"

    def deployment_lock(self, use_case: str) -> Path:
        """Lock file of whoever changes the deployment; beside the manifest, so that all who may write that meet."""
        return self.deployment / "locks" / f"deployment-{use_case}.lock"

    @property
    def feast(self) -> Path:
        """Folder of Feast's registry and online store (SQLite)."""
        return self.home / "feast"

    @property
    def mlflow(self) -> Path:
        """Folder of MLflow's SQLite store and artifacts."""
        return self.home / "mlflow"

    @property
    def dagster(self) -> Path:
        """``DAGSTER_HOME`` of the local instance."""
        return self.home / "dagster"
