"""Dagster resources: the adapters, opened with the settings in force.

Upstream: settings, adapters, and ``domain.labels``, which two stages share. Downstream: assets and sensors, which take
``platform: PlatformResource`` and no more. Adapters are imported when first used, so that loading the code location
stays quick.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import ValidationError

from shadow_platform.contracts.deployment import DeploymentManifest
from shadow_platform.contracts.errors import ShadowPlatformError, TransitionConflict, UseCaseError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.lineage import CodeState
from shadow_platform.contracts.model_card import ModelCard
from shadow_platform.contracts.models import Estimator
from shadow_platform.contracts.simulation import SimulationPlan
from shadow_platform.contracts.use_case import Build, Choice, Derivation, EventSource, Parameter, Range, UseCase
from shadow_platform.domain.labels import CombinedLabels, combine, hidden_among
from shadow_platform.partitions import require_days
from shadow_platform.pictures import Pictures
from shadow_platform.settings import Settings, load_settings

if TYPE_CHECKING:
    import pandas as pd

    from shadow_platform.adapters.bundle import Bundle, BundleStore
    from shadow_platform.adapters.feature_store import FeastStore
    from shadow_platform.adapters.lake import Lake
    from shadow_platform.adapters.lake.partition_records import PartitionRecords
    from shadow_platform.adapters.log import FileLogSink
    from shadow_platform.adapters.registry import MlflowRegistry
    from shadow_platform.adapters.reports import ReportResult
    from shadow_platform.adapters.search import SearchResult
    from shadow_platform.adapters.stream_log import StreamLog
    from shadow_platform.adapters.tracking import TrainingRun

Transition = Literal[
    "deploy_initial",
    "promote",
    "rollback",
    "add_challenger",
    "remove_challenger",
    "set_shadow_policy",
    "start_canary",
    "set_canary_share",
    "stop_canary",
]
EmergencyChange = Literal["halt_canary", "emergency_rollback"]


class PlatformResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens every adapter with one set of settings.

    Attributes:
        shadow_home: overrides ``SHADOW_HOME``; empty means as set in the environment.
    """

    shadow_home: str = ""

    @property
    def settings(self) -> Settings:
        """Settings in force."""
        settings = load_settings()
        return settings.model_copy(update={"shadow_home": Path(self.shadow_home)}) if self.shadow_home else settings

    @property
    def layout(self) -> Layout:
        """Paths below the home folder."""
        return self.settings.layout

    def lake(self) -> "Lake":
        """Events, features and tables."""
        from shadow_platform.adapters.lake import Lake

        return Lake(self.layout)

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

    def registry(self) -> "MlflowRegistry":
        """Model registry."""
        from shadow_platform.adapters.bundle import bundle_hash
        from shadow_platform.adapters.registry import MlflowRegistry

        return MlflowRegistry(self.settings.mlflow_uri, self.layout.mlflow / "artifacts", bundle_hash)

    def transitions_log(self, use_case: UseCase) -> "FileLogSink":
        """Append-only log of alias changes."""
        from shadow_platform.adapters.log import FileLogSink

        return FileLogSink(self.layout.log("transitions", use_case.name))

    def transitions(self, use_case: UseCase) -> list[dict[str, Any]]:
        """Every transition so far, oldest first; a row that a repair appended again is one row."""
        from shadow_platform.adapters.log import FileLogSource

        source = FileLogSource(self.layout.log("transitions", use_case.name))
        rows = [json.loads(line.payload) for line in source.read({})]
        return list({row["transition_id"]: row for row in rows}.values())

    def manifest(self, use_case: UseCase) -> DeploymentManifest | None:
        """Deployment manifest in force; ``None`` before the first deployment."""
        from shadow_platform.adapters.deployment import read_manifest

        return read_manifest(self.layout.manifest(use_case.name))

    def require_manifest(self, use_case: UseCase, lacking: str) -> DeploymentManifest:
        """Deployment manifest in force; raises ``dg.Failure`` that says what is lacking before the first deployment."""
        manifest = self.manifest(use_case)
        if manifest is None:
            raise dg.Failure(
                f"{self.layout.manifest(use_case.name)} does not exist, so there is {lacking}; "
                f"run the job {use_case.name}_train first",
                allow_retries=False,
            )
        return manifest

    def deploy(
        self,
        use_case: UseCase,
        change: Transition,
        **arguments: Any,
    ) -> DeploymentManifest:
        """Carry out one transition of ``adapters.deployment`` with the registry and the audit log."""
        from shadow_platform.adapters import deployment

        try:
            with closing(self.transitions_log(use_case)) as audit:
                manifest: DeploymentManifest = getattr(deployment, change)(
                    self.registry(), self.layout, audit, use_case=use_case.name, now=datetime.now(UTC), **arguments
                )
        except TransitionConflict as conflict:
            moved = self.transitions(use_case)[-1:]
            told = [f"; the last recorded change was by {row['actor']} at {row['transitioned_at']}" for row in moved]
            raise TransitionConflict(f"{conflict}{''.join(told)}") from conflict
        return manifest

    def deploy_without_registry(
        self, use_case: UseCase, change: EmergencyChange, **arguments: Any
    ) -> DeploymentManifest:
        """Carry out a transition that an outage of the registry must not delay."""
        from shadow_platform.adapters import deployment

        with closing(self.transitions_log(use_case)) as audit:
            manifest: DeploymentManifest = getattr(deployment, change)(
                self.layout, audit, use_case=use_case.name, now=datetime.now(UTC), **arguments
            )
        return manifest

    def reconcile(self, use_case: UseCase) -> DeploymentManifest | None:
        """Finish what a dead process or an emergency began, follow an alias moved by hand; the manifest in force."""
        from shadow_platform.adapters import deployment

        with closing(self.transitions_log(use_case)) as audit:
            return deployment.reconcile(
                self.registry(), self.layout, audit, use_case=use_case.name, now=datetime.now(UTC)
            )

    def bundle(self, use_case: UseCase, version: str) -> "Bundle":
        """Bundle of a registered version, verified."""
        from shadow_platform.adapters.bundle import Bundle

        return Bundle.load(self.registry().fetch_bundle(use_case.name, version, self.layout.bundles))

    def bundles(self) -> "BundleStore":
        """Bundles of this home."""
        from shadow_platform.adapters.bundle import BundleStore

        return BundleStore(self.layout.bundles)

    def estimator(self, use_case: UseCase, version: str) -> Estimator:
        """Scikit-learn model behind a version, for a look inside; nothing serves it."""
        from shadow_platform.adapters.estimators import run_estimator

        return run_estimator(self.settings.mlflow_uri, self.registry().get(use_case.name, version).run_id)

    def export_onnx(self, estimator: Any, n_inputs: int) -> bytes:
        """ONNX model of a fitted estimator."""
        from shadow_platform.adapters.onnx_export import export_onnx

        return export_onnx(estimator, n_inputs)

    def search_parameters(
        self,
        losses: Callable[[Mapping[str, Parameter]], Iterator[float]],
        space: Mapping[str, Range | Choice],
        defaults: Mapping[str, Parameter],
        **budget: Any,
    ) -> "SearchResult":
        """Best of the hyperparameters tried; arguments as ``adapters.search``."""
        from shadow_platform.adapters.search import search

        return search(losses, space, defaults, **budget)

    def code(self, sources: Sequence[str], build: Build, derivations: Sequence[Derivation] = ()) -> dict[str, Any]:
        """Digests of files and folders of the platform, and what a builder and derivations do and captured."""
        from shadow_platform.adapters.code_state import described, source_digest

        code = {"sources": {path: source_digest(path) for path in sources}, "build": described(build)}
        return code | ({"derivations": described(derivations)} if derivations else {})

    def environment(self, estimator: Any) -> dict[str, str]:
        """Versions of Python and of the packages that make an estimator of this family and its bundle; kernels."""
        from shadow_platform.adapters.code_state import environment
        from shadow_platform.adapters.threads import blas_kernels

        return {**environment(estimator), "blas": blas_kernels()}

    def one_blas_thread(self) -> AbstractContextManager[object]:
        """Within it, linear algebra gives the same digits on every number of cores."""
        from shadow_platform.adapters.threads import one_blas_thread

        return one_blas_thread()

    def code_state(self) -> CodeState:
        """Commit, lock and packages of the program that runs."""
        from shadow_platform.adapters.code_state import code_state

        return code_state()

    def training_run(
        self, context: dg.AssetExecutionContext, use_case: UseCase, tags: Mapping[str, str]
    ) -> "AbstractContextManager[TrainingRun]":
        """MLflow run of the step, closed by the step's outcome."""
        from shadow_platform.adapters.tracking import training_run

        experiment = self.registry().experiment(use_case.name)
        return training_run(context, self.settings.mlflow_uri, experiment, tags)

    def pictures(self) -> Pictures:
        """Pictures for people, as markdown."""
        return Pictures()

    def card_documents(self, card: ModelCard, pictures: Mapping[str, bytes]) -> dict[str, bytes]:
        """A model card as files of a bundle."""
        from shadow_platform.adapters.pages.card import card_html, card_json

        return {"card.json": card_json(card), "card.html": card_html(card, pictures)}

    def log_shadow_result(
        self, use_case: UseCase, version: str, window: str, comparisons: "pd.DataFrame", metrics: Mapping[str, float]
    ) -> str:
        """Id of the MLflow run with one challenger's comparisons of a window, their summary and plot."""
        from shadow_platform.adapters.pictures.comparison import comparison_png
        from shadow_platform.adapters.shadow_results import ShadowResult, log_shadow_result

        registry, compared = self.registry(), comparisons[comparisons["outcome"].eq("compared")]
        files = {"comparisons.parquet": comparisons.to_parquet(index=False)}
        if len(compared):
            files["comparison.png"] = comparison_png(compared, f"{use_case.title}: version {version}, {window}")
        result = ShadowResult(version, window, registry.get(use_case.name, version).run_id, metrics, files)
        return log_shadow_result(self.settings.mlflow_uri, registry.experiment(use_case.name), result)

    def drift_report(
        self,
        use_case: UseCase,
        reference: "pd.DataFrame",
        current: "pd.DataFrame",
        path: Path,
        window: str,
        end: datetime,
        known: Mapping[str, str],
    ) -> "ReportResult":
        """Evidently's report of a window, scores included, written to ``path`` unless the result says why not.

        Args:
            window: its name in Evidently's UI, which shows it at ``end`` with what is ``known``.
        """
        from shadow_platform.adapters.reports import WorkspaceRun, write_report

        kinds = {feature.name: feature.kind for feature in use_case.features}
        numeric = [name for name, kind in kinds.items() if kind == "numeric"]
        categorical = [name for name, kind in kinds.items() if kind == "categorical"]
        run = WorkspaceRun(self.layout.evidently, use_case.name, window, end, known)
        return write_report(reference, current, [*numeric, "score"], categorical, path, run=run)

    def replay_challengers(self, use_case: UseCase) -> dict[str, dict[str, int]]:
        """Let every deployed challenger score what was logged before it was live; counts by version.

        The shadow worker's own process does it: serving and Dagster meet in the log, not in calls.
        """
        from shadow_platform.adapters.deployment import read_manifest

        manifest = read_manifest(self.layout.manifest(use_case.name))
        versions = [model.version for model in manifest.challengers] if manifest else []
        return {version: json.loads(self._bento(use_case, "shadow", "--replay", version)) for version in versions}

    def build_bento(self, use_case: UseCase) -> str:
        """Tag of a Bento that holds the deployment in force."""
        return self._bento(use_case, "build").strip()

    def _bento(self, use_case: UseCase, module: str, *arguments: str) -> str:
        environment = {
            **os.environ,
            "SHADOW_HOME": str(self.layout.home),
            "SHADOW_USE_CASE": self.settings.address_of(use_case.name),
        }
        command = [sys.executable, "-m", f"bento.{module}", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ShadowPlatformError(f"{' '.join(command[1:])} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip().splitlines()[-1]
