"""One typed reading of the environment; nothing else in the platform looks at ``os.environ``.

Upstream: environment variables and ``.env``. Downstream: resources, bento, command line. Each setting's meaning stands
in ``.env.example`` and in the field's description; both are kept equal by a test.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shadow_platform.contracts.errors import SettingsError
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.ports import FeatureStores
from shadow_platform.contracts.redaction import redact

ROLES = frozenset({"predictor", "shadow", "guard"})

OBJECT_STORE = r"^s3://[^@\s]+$"
"""Who asks stands in ``AWS_*``, never in an address, which is shown."""
POSTGRES_OF_DAGSTER = "postgresql+psycopg2://"


class Settings(BaseSettings):
    """Every setting of the platform, validated at start."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    environment: Literal["development", "staging", "production"] = Field(
        "development",
        description="outside development callers need tokens; production refuses the header X-As-Of, and a person "
        "approves rollouts there unless the use case says otherwise",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="lowest level that is logged")
    log_format: Literal["text", "json"] = Field(
        "text", description="how running processes log: lines for people, or one JSON object a line for collectors"
    )
    shadow_home: Path = Field(Path("data"), description="folder that holds everything the platform writes")
    shadow_shared: Path | None = Field(
        None,
        description="folder of manifests and bundles when another machine promotes into it; unset: SHADOW_HOME",
    )
    shadow_use_case: str = Field(
        "churn",
        description="use case that a service answers for and commands mean without -u; unset: the only one served",
    )
    shadow_extra_use_cases: str | None = Field(
        None, description="comma-separated package.module:ATTRIBUTE of use cases besides the installed ones"
    )
    feast_repo_path: Path = Field(Path("feature_repo"), description="folder of the Feast definitions")
    mlflow_tracking_uri: str | None = Field(None, description="MLflow; default: SQLite below SHADOW_HOME")
    mlflow_artifacts_url: str | None = Field(
        None,
        pattern=OBJECT_STORE,
        description="artifacts of new experiments where MLflow is a database, s3://bucket/prefix; unset: SHADOW_HOME",
    )
    drift_threshold: float = Field(
        0.3, ge=0, le=1, description="share of drifted features above which drift fails on its own"
    )
    monitoring_interval: int = Field(300, gt=0, description="seconds between monitoring evaluations")
    monitoring_lookback: int = Field(24, gt=0, description="hours a monitoring window looks back")
    min_f1_improvement_pct: float = Field(
        2.0,
        allow_inf_nan=False,
        description="F1 gain in percent a challenger needs; set, it replaces the limit of use cases whose gate demands "
        "one, such as credit",
    )
    max_brier_degradation: float = Field(
        0.01,
        ge=0,
        description="largest tolerated rise of the Brier score; set, it replaces the limit of use cases whose gate has "
        "one",
    )
    min_samples_for_decision: int = Field(
        200, gt=0, description="matured labels a gate needs at least; set, it replaces the number of every use case"
    )
    canary_split: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of subjects the newest challenger answers, unless a canary is set by hand",
    )
    slo_p95_ms: float = Field(
        200.0,
        gt=0,
        description="95 % of answers must be faster, milliseconds; set, it also limits a challenger's in every gate",
    )
    slo_error_rate: float = Field(
        0.01,
        ge=0,
        le=1,
        description="tolerated share of failed requests; set, it also limits a challenger's in every gate",
    )
    slo_window_seconds: float = Field(
        60.0, gt=0, description="span of traffic a breach is judged on, seconds; longer where it holds too few requests"
    )
    slo_min_requests: int = Field(200, gt=0, description="requests of a model before a breach is judged")
    slo_probation_seconds: float = Field(
        3600.0, ge=0, description="span after a promotion in which a breach brings the previous champion back, seconds"
    )
    kafka_bootstrap_servers: str | None = Field(None, description="host:port list; unset: no stream")
    kafka_config: Path | None = Field(
        None, description="properties file of librdkafka with further settings, such as TLS and SASL"
    )
    log_transport: Literal["files", "kafka"] = Field(
        "files",
        description="how logs reach the machine that judges them; files: they are there; kafka: relay and lander",
    )
    kafka_log_prefix: str = Field(
        "shadow",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="topics of the logs are <prefix>.<log>.<use case>, such as shadow.predictions.churn",
    )
    log_relay_keep_h: int = Field(
        24,
        ge=0,
        description="with SHADOW_SHARED, segments of the log are deleted here this many hours after theirs, once they "
        "were relayed; 0: never",
    )
    feature_store: Literal["local", "scale"] = Field(
        "local",
        description="local: SQLite and files; scale: Redis, Postgres, object storage and Ray by the three URLs below",
    )
    redis_url: SecretStr | None = Field(
        None, description="online features with FEATURE_STORE=scale, redis://:password@host:port"
    )
    postgres_url: SecretStr | None = Field(
        None, description="Feast's registry with FEATURE_STORE=scale, postgresql://user:password@host/database"
    )
    features_url: str | None = Field(
        None, description="offline feature rows with FEATURE_STORE=scale, s3://bucket/prefix; AWS_* say where and who"
    )
    ray_address: str | None = Field(
        None, description="Ray cluster with FEATURE_STORE=scale, ray://host:port; unset: Ray on this machine"
    )
    alert_urls: SecretStr | None = Field(
        None, description="comma-separated Apprise URLs that alerts are sent to; unset: they are rows of a table only"
    )
    alert_min_severity: Literal["info", "warning", "critical"] = Field(
        "warning", description="least severity of the alerts that are sent"
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^@\s]+$",
        description="collector that takes traces by OTLP/HTTP, http://host:4318; unset: nothing is traced",
    )
    otel_traces_sampler_arg: float = Field(0.1, ge=0, le=1, description="share of requests that are traced")
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="port for the metrics of a process that is no HTTP service; unset: none"
    )
    metrics_host: str = Field(
        "0.0.0.0", description="address METRICS_PORT is opened at; 127.0.0.1 keeps it on this machine"
    )
    drift_reference_path: Path | None = Field(None, description="file used as drift reference by `shadow drift`")
    drift_current_path: Path | None = Field(None, description="file used as current window by `shadow drift`")
    tables_url: str | None = Field(
        None,
        pattern=OBJECT_STORE,
        description="where the published tables are copied to, s3://bucket/prefix; unset: nowhere",
    )
    dagster_postgres_url: SecretStr | None = Field(
        None, description="Dagster's storage, postgresql+psycopg2://user:password@host/database; unset: SQLite"
    )
    dagster_executor: Literal["in_process", "multiprocess", "k8s"] = Field(
        "in_process", description="how the steps of one run are executed; in_process starts fastest"
    )
    serve_roles: str = Field(
        "predictor,shadow,guard", description="comma-separated parts that `shadow serve` runs: predictor, shadow, guard"
    )
    port: int = Field(8000, ge=1, le=65535, description="port of the HTTP API")
    max_batch_size: int = Field(1000, ge=1, description="most requests of one POST /predict/batch")
    max_concurrency: int = Field(256, ge=1, description="requests in flight per worker before 429")
    cors_origins: str | None = Field(
        None, description="comma-separated origins that browsers may call from, or *; unset: none"
    )
    predict_tokens: SecretStr | None = Field(
        None, description="comma-separated bearer tokens that may predict and explain; required outside development"
    )
    shadow_tokens: SecretStr | None = Field(
        None, description="comma-separated bearer tokens that may read shadow data; required outside development"
    )
    online_timeout_ms: float = Field(
        250.0, gt=0, description="longest wait for online features before they are imputed, milliseconds"
    )
    online_cache_seconds: float = Field(
        0.0, ge=0, description="online features may be served this long from the worker's memory, seconds; 0: never"
    )
    explain_timeout_ms: float = Field(2000.0, gt=0, description="longest time for POST /explain, milliseconds")

    @property
    def layout(self) -> Layout:
        """Paths below ``SHADOW_HOME`` and ``SHADOW_SHARED``, absolute."""
        shared = None if self.shadow_shared is None else self.shadow_shared.resolve()
        return Layout(self.shadow_home.resolve(), shared)

    @property
    def roles(self) -> frozenset[str]:
        """Parts that ``shadow serve`` runs; raises ``SettingsError`` for a part that there is not."""
        named = frozenset(name.strip() for name in self.serve_roles.split(",") if name.strip())
        if not named or named - ROLES:
            raise SettingsError(
                f"SERVE_ROLES={self.serve_roles!r}: expected one or more of predictor, shadow, guard, separated by "
                "commas; correct it in the environment or .env"
            )
        return named

    @property
    def stores(self) -> FeatureStores:
        """Where features lie; raises ``SettingsError`` when a URL that the choice needs is not set."""
        if self.feature_store == "local":
            return FeatureStores()
        secrets = (self.redis_url, self.postgres_url)
        redis, postgres = (url.get_secret_value() if url else None for url in secrets)
        urls = {"REDIS_URL": redis, "POSTGRES_URL": postgres, "FEATURES_URL": self.features_url}
        missing = [name for name, url in urls.items() if url is None]
        if missing:
            raise SettingsError(f"FEATURE_STORE=scale needs {', '.join(missing)}; set them in the environment or .env")
        return FeatureStores("scale", redis, postgres, self.features_url, self.ray_address)

    @property
    def dagster_postgres(self) -> str | None:
        """Address of Dagster's Postgres storage; ``None``: SQLite. Raises ``SettingsError`` when no driver is named."""
        url = self.dagster_postgres_url.get_secret_value() if self.dagster_postgres_url else None
        if url is not None and not url.startswith(POSTGRES_OF_DAGSTER):
            # SQLAlchemy takes postgresql:// for the newer driver, and Dagster's storage is written for the older one.
            scheme, named, _ = url.partition("://")
            begins = f"begins with {scheme}://" if named else "names no driver"
            raise SettingsError(
                f"DAGSTER_POSTGRES_URL {begins}, expected {POSTGRES_OF_DAGSTER}; correct it in the environment or .env"
            )
        return url

    @property
    def extra_use_cases(self) -> tuple[str, ...]:
        """Addresses ``package.module:ATTRIBUTE`` in ``SHADOW_EXTRA_USE_CASES``."""
        names = (self.shadow_extra_use_cases or "").split(",")
        return tuple(name.strip() for name in names if name.strip())

    def address_of(self, use_case: str) -> str:
        """What a child process must be told to load the use case: its name, or its address when it is an extra one."""
        named = (self.shadow_use_case, *self.extra_use_cases)
        return next((name for name in named if name.partition(":")[0].rpartition(".")[2] == use_case), use_case)

    @property
    def mlflow_uri(self) -> str:
        """Tracking URI in force."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.layout.mlflow / 'mlflow.db'}"


def load_settings(*, is_restoring: bool = False) -> Settings:
    """Read the environment; raises ``SettingsError`` with one line a bad value.

    Args:
        is_restoring: whoever restores a home may look at one whose restore is not finished; nobody else may.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        lines = [f"{_refusal(e)}; correct it in the environment or .env" for e in error.errors()]
        # Without its cause, whose text has the value as it was given.
        raise SettingsError("\n".join(lines)) from None
    if not is_restoring and settings.layout.restoring.exists():
        raise SettingsError(
            f"SHADOW_HOME={str(settings.layout.home)!r} was restored by half only; run `shadow restore FILE` again"
        )
    return settings


def _refusal(error: Mapping[str, Any]) -> str:
    """Which setting cannot be used, without any password in it, and what was expected."""
    name, value, expected = str(error["loc"][0]), error["input"], error["msg"].lower()
    field = Settings.model_fields[name]
    if SecretStr in get_args(field.annotation):
        return f"{name.upper()}=***: {expected}"
    if isinstance(value, str):
        if error["type"] == "string_pattern_mismatch" and "://" in error["ctx"]["pattern"]:
            form = str(field.description).partition(";")[0]
            expected = "expected no user or password in it" if "@" in value else f"expected {form}"
        value = redact(value)
    return f"{name.upper()}={value!r}: {expected}"
