"""Model registry on MLflow 3: versions, the bundles behind them, aliases moved by compare-and-swap.

Belongs here: ``ports.Registry`` on MLflow, and the experiment (with its artifact location) that runs are logged to.
Does not belong here: what a bundle's hash is (``adapters.bundle``, passed in), logging of a training
(``adapters.tracking``), when an alias may move (domain.gates, adapters.deployment).
Upstream: training registers. Downstream: deployment, command line.

A version's bundle is uploaded before the version is created, in one transaction with its tags, so that a process that
dies in between leaves files nobody points to, never half a version. Locks are file locks beside the artifacts: they
hold between processes that share that folder, which is every writer of one platform. What a tracking server costs
beyond that, and which rights its user needs, stands in ``docs/models.md``.

MLflow's ``get_registered_model`` reads every version there is, so nothing that asks for one version or one alias calls
it (``benchmarks/registry.py``).
"""

import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from shadow_platform.contracts.bundle import BundleManifest
from shadow_platform.contracts.errors import BundleError, RegistryError, ShadowPlatformError, TransitionConflict
from shadow_platform.contracts.ports import RegisteredVersion
from shadow_platform.contracts.retraining import tightened

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK_TIMEOUT_S = 60.0
PAGE_SIZE = 1_000
# An error names so many versions; there may be thousands.
NAMED_VERSIONS = 10
MANIFEST_FILE = "bundle.json"
HASH_TAG, MODEL_TAG, METRICS_TAG = "bundle_hash", "model_name", "metrics"
OWN_TAGS = frozenset({HASH_TAG, MODEL_TAG, METRICS_TAG})

# What MLflow answers for a model, a version or an alias that does not exist.
ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})

# MLflow's defaults wait for minutes on a server that does not answer; a person and a sensor need to know sooner.
# Its progress bars would stand between the lines of a command.
CLIENT_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class MlflowRegistry:
    """``ports.Registry`` on an MLflow tracking server or database; opened on first use.

    Args:
        tracking_uri: ``sqlite:///``, ``postgresql://`` or ``http(s)://``.
        artifacts: local folder of artifacts; a tracking server (http) keeps its own, only locks lie here then.
        bundle_hash: hash of a bundle's folder, raising ``BundleError`` when it is incomplete.
        artifacts_url: where new experiments of a database keep their artifacts; ``None``: in the folder.
    """

    def __init__(
        self,
        tracking_uri: str,
        artifacts: Path,
        bundle_hash: Callable[[Path], str],
        artifacts_url: str | None = None,
    ) -> None:
        self.tracking_uri = tracking_uri
        self._artifacts, self._artifacts_url = artifacts, artifacts_url
        self._bundle_hash = bundle_hash

    def prepare(self) -> bool:
        """Create or upgrade the tables of a database; returns whether it is one: a server keeps its own."""
        if not self._is_server:
            with self._guard(), self._lock("store"):
                self._initialise_database(upgrades=True)
            _ = self._client
        return not self._is_server

    def experiment(self, use_case: str) -> str:
        """Name of the use case's experiment, made with an explicit artifact location if it does not exist."""
        with self._guard(), self._lock(f"experiment-{use_case}"):
            if self._client.get_experiment_by_name(use_case) is None:
                self._client.create_experiment(use_case, artifact_location=self._artifact_location(use_case))
        return use_case

    def register(self, use_case: str, bundle: Path, run_id: str, tags: Mapping[str, str]) -> RegisteredVersion:
        """Register a bundle once; the same bundle hash gives the version it has, restricted further if asked."""
        digest = self._bundle_hash(bundle)
        manifest = _manifest(bundle)
        if manifest.use_case != use_case:
            raise RegistryError(
                f"bundle {digest} is of use case {manifest.use_case!r}, expected {use_case!r}; register it there"
            )
        with self._guard(), self._lock(f"register-{use_case}"):
            known = self._client.search_model_versions(
                f"name = '{use_case}' and tag.{HASH_TAG} = '{digest}'", max_results=1, order_by=["version_number ASC"]
            )
            if known:
                version, found = str(known[0].version), known[0].tags
                for name, text in tightened(found, tags).items():
                    self._client.set_model_version_tag(use_case, version, name, text)
                return self.get(use_case, version)
            return self._create(use_case, bundle, digest, manifest, run_id, tags)

    def _create(
        self,
        use_case: str,
        bundle: Path,
        digest: str,
        manifest: BundleManifest,
        run_id: str,
        tags: Mapping[str, str],
    ) -> RegisteredVersion:
        folder = f"bundles/{digest}"
        self._client.log_artifacts(run_id, str(bundle), folder)
        self._require_model(use_case)
        own = {HASH_TAG: digest, MODEL_TAG: manifest.model_name, METRICS_TAG: json.dumps(manifest.metrics)}
        artifact_uri = self._client.get_run(run_id).info.artifact_uri
        created = self._client.create_model_version(
            use_case, source=f"{artifact_uri}/{folder}", run_id=run_id, tags={**tags, **own}
        )
        return self.get(use_case, str(created.version))

    def _require_model(self, use_case: str) -> None:
        if self._client.search_model_versions(f"name = '{use_case}'", max_results=1, order_by=["version_number ASC"]):
            return
        if self._registered_model(use_case) is None:
            self._client.create_registered_model(use_case)

    def get(self, use_case: str, version: str) -> RegisteredVersion:
        """One version; raises ``RegistryError`` when there is none."""
        with self._guard():
            entity = self._model_version(use_case, version)
            return self._entity(use_case, entity, dict.fromkeys(entity.aliases, str(entity.version)))

    def versions(self, use_case: str) -> list[RegisteredVersion]:
        """All versions, oldest first."""
        return sorted(self._listed(use_case), key=lambda version: int(version.version))

    def newest(self, use_case: str, limit: int) -> list[RegisteredVersion]:
        """At most so many versions, newest first; quick however many there are."""
        return self._listed(use_case, limit)

    def _listed(self, use_case: str, limit: int | None = None) -> list[RegisteredVersion]:
        found: list[RegisteredVersion] = []
        with self._guard():
            aliases = self._aliases(use_case)
            token: str | None = None
            while token != "" and (limit is None or len(found) < limit):
                page = self._client.search_model_versions(
                    f"name = '{use_case}'",
                    max_results=PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - len(found)),
                    order_by=["version_number DESC"],
                    page_token=token,
                )
                found.extend(self._entity(use_case, entity, aliases) for entity in page)
                token = page.token or ""
        return found

    def alias(self, use_case: str, alias: str) -> str | None:
        """Version an alias points to."""
        from mlflow.exceptions import MlflowException

        with self._guard():
            try:
                entity = self._client.get_model_version_by_alias(use_case, alias)
            except MlflowException as error:
                if error.error_code in ABSENT:
                    return None
                raise
            # MLflow answers for an alias `latest` that nobody set.
            return str(entity.version) if alias in entity.aliases else None

    def swap_alias(self, use_case: str, alias: str, expected: str | None, new: str | None) -> None:
        """Compare-and-swap; raises ``TransitionConflict`` when the alias is not at ``expected``."""
        with self._guard(), self._lock(f"alias-{use_case}"):
            found = self.alias(use_case, alias)
            if found != expected:
                raise TransitionConflict(
                    f"alias {alias!r} of {use_case} is at version {found}, expected {expected}; someone else moved "
                    "it meanwhile: look at `shadow models history`, then decide again"
                )
            if new is not None:
                self._model_version(use_case, new)
                self._client.set_registered_model_alias(use_case, alias, new)
            elif found is not None:
                self._client.delete_registered_model_alias(use_case, alias)

    def fetch_bundle(self, use_case: str, version: str, bundles: Path) -> Path:
        """Folder ``bundles/<hash>`` with the version's bundle, hash verified; downloads it if it is not there.

        Raises:
            BundleError: what the registry holds, or what lies in the folder, is not what was registered.
        """
        digest = self.get(use_case, version).bundle_hash
        folder = bundles / digest
        if folder.exists():
            self._verify(folder, digest, f"remove {folder} to fetch it again")
            return folder
        bundles.mkdir(parents=True, exist_ok=True)
        temporary = bundles / f".fetch-{uuid.uuid4().hex}"
        temporary.mkdir()
        try:
            fetched = self._download(use_case, version, temporary)
            self._verify(fetched, digest, f"the artifact of version {version} was altered: train and register again")
            try:
                fetched.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
                self._verify(folder, digest, f"remove {folder} to fetch it again")
            return folder
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _download(self, use_case: str, version: str, target: Path) -> Path:
        from mlflow.artifacts import download_artifacts

        with self._guard():
            source = self._client.get_model_version_download_uri(use_case, version)
            fetched = download_artifacts(artifact_uri=source, dst_path=str(target), tracking_uri=self.tracking_uri)
        return Path(fetched)

    def _verify(self, folder: Path, digest: str, remedy: str) -> None:
        found = self._bundle_hash(folder)
        if found != digest:
            raise BundleError(f"bundle in {folder} has hash {found}, expected {digest}; {remedy}")

    @cached_property
    def _client(self) -> "MlflowClient":
        for name, value in CLIENT_SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        with self._guard(), self._lock("store"):
            self._initialise_database()
            client = MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)
            # It would read every version before it moves an alias, to see that the model is no prompt.
            client._raise_if_prompt = lambda name: None  # type: ignore[method-assign]  # noqa: ARG005, SLF001
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
            return client

    def _initialise_database(self, upgrades: bool = False) -> None:
        """Create the store under the lock: concurrent first creation crashes, and the default location is ``.``."""
        if self._is_server:
            return
        if self.tracking_uri.startswith("sqlite:///"):
            Path(self.tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        from sqlalchemy import create_engine, inspect, pool

        engine = create_engine(self.tracking_uri, poolclass=pool.NullPool)
        if not inspect(engine).get_table_names():
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            SqlAlchemyStore(self.tracking_uri, self._artifact_location("default"))  # type: ignore[no-untyped-call]
        elif upgrades:
            from mlflow.store.db.utils import _upgrade_db

            _upgrade_db(engine)  # type: ignore[no-untyped-call]

    @property
    def _is_server(self) -> bool:
        return urlsplit(self.tracking_uri).scheme in {"http", "https"}

    def _artifact_location(self, name: str) -> str | None:
        if self._is_server:
            return None
        if self._artifacts_url:
            return f"{self._artifacts_url.rstrip('/')}/{name}"
        return (self._artifacts.resolve() / name).as_uri()

    def _registered_model(self, use_case: str) -> Any | None:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_registered_model(use_case)
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise

    def _model_version(self, use_case: str, version: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_model_version(use_case, version)
        except MlflowException as error:
            if error.error_code in ABSENT:
                newest = [known.version for known in self.newest(use_case, NAMED_VERSIONS + 1)]
                more = ["…"] if len(newest) > NAMED_VERSIONS else []
                known = ", ".join([*more, *newest[NAMED_VERSIONS - 1 :: -1]]) or "none"
                raise RegistryError(
                    f"version {version!r} of {use_case} does not exist in {self._place}; known versions: {known}"
                ) from error
            raise

    def _aliases(self, use_case: str) -> dict[str, str]:
        model = self._registered_model(use_case)
        return {} if model is None else {str(alias): str(version) for alias, version in model.aliases.items()}

    @staticmethod
    def _entity(use_case: str, entity: Any, aliases: Mapping[str, str]) -> RegisteredVersion:
        version = str(entity.version)
        tags = dict(entity.tags)
        if HASH_TAG not in tags:
            raise RegistryError(
                f"version {version} of {use_case} has no tag {HASH_TAG}: it was not registered by the platform; "
                "delete it in MLflow"
            )
        return RegisteredVersion(
            use_case=use_case,
            version=version,
            model_name=tags.get(MODEL_TAG, ""),
            bundle_hash=tags[HASH_TAG],
            run_id=entity.run_id or "",
            created_at=datetime.fromtimestamp(entity.creation_timestamp / 1000, tz=UTC),
            aliases=tuple(sorted(alias for alias, target in aliases.items() if target == version)),
            tags={name: value for name, value in tags.items() if name not in OWN_TAGS},
            metrics=json.loads(tags.get(METRICS_TAG, "{}")),
        )

    @property
    def _place(self) -> str:
        return _without_password(self.tracking_uri)

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        folder = self._artifacts / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / f"{name}.lock", timeout=LOCK_TIMEOUT_S):
                yield
        except Timeout as error:
            raise RegistryError(
                f"lock {error.lock_file} of the model registry has been held for {LOCK_TIMEOUT_S:.0f} s by another "
                "process; wait for it, or end it"
            ) from error

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Every failure of MLflow, its database or its server becomes a ``RegistryError`` that names the place."""
        try:
            yield
        except ShadowPlatformError:
            raise
        except Exception as error:
            message = (
                f"model registry {self._place} failed ({type(error).__name__}: {_first_line(error)}); {_remedy(error)}"
            )
            if str(error) != _without_password(str(error)):
                # A traceback prints the cause as well.
                raise RegistryError(message) from None
            raise RegistryError(message) from error


def _first_line(error: Exception) -> str:
    return (_without_password(str(error)).strip().splitlines() or [""])[0]


def _without_password(text: str) -> str:
    """The text with no user and password in its addresses."""
    return re.sub(r"(\w+://)[^\s/]*@", r"\1", text)


def _remedy(error: Exception) -> str:
    """What a person does about a failure of MLflow."""
    code = getattr(error, "error_code", None)
    # Artifacts that the server passes on fail with the status alone.
    status = getattr(getattr(error, "response", None), "status_code", None)
    if code in {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"} or status == HTTPStatus.UNAUTHORIZED:
        return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment of this process"
    if code == "PERMISSION_DENIED" or status == HTTPStatus.FORBIDDEN:
        user = os.environ.get("MLFLOW_TRACKING_USERNAME", "")
        return (
            f"user {user!r} may not do this: ask the server's administrator for permission MANAGE on the experiment "
            "and the registered model, or set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to who may"
        )
    return "check that it is reachable and that MLFLOW_TRACKING_URI is right"


def _manifest(bundle: Path) -> BundleManifest:
    try:
        return BundleManifest.model_validate_json((bundle / MANIFEST_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"{bundle / MANIFEST_FILE} cannot be used ({error}); write the bundle again") from error
