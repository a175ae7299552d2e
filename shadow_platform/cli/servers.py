"""Checks of the servers that the settings name: does each answer in its own protocol, and what to do when it does not.

Belongs here: one question to one server. Does not belong here: what lies below ``SHADOW_HOME`` (``inspect``). Upstream:
settings. Downstream: ``shadow doctor``. A message names the setting and the host, never a user or a password.
"""

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.settings import Settings

TIMEOUT_S = 5
Check = Callable[[], str]


def server_checks(settings: Settings) -> dict[str, Check]:
    """A check a server that is set, by the name of its setting."""
    found: dict[str, Check] = {}
    if settings.kafka_bootstrap_servers:
        found["KAFKA_BOOTSTRAP_SERVERS"] = lambda: _kafka(settings)
    if settings.feature_store == "scale" and settings.redis_url:
        redis = settings.redis_url.get_secret_value()
        found["REDIS_URL"] = lambda: _redis(redis)
    if settings.feature_store == "scale" and settings.postgres_url:
        registry = settings.postgres_url.get_secret_value()
        found["POSTGRES_URL"] = lambda: _postgres("POSTGRES_URL", registry)
    if settings.dagster_postgres_url:
        # Raises for an address that Dagster's storage does not take, of whatever server.
        found["DAGSTER_POSTGRES_URL"] = lambda: _postgres("DAGSTER_POSTGRES_URL", str(settings.dagster_postgres))
    buckets = {
        "FEATURES_URL": settings.features_url if settings.feature_store == "scale" else None,
        "TABLES_URL": settings.tables_url,
        "MLFLOW_ARTIFACTS_URL": settings.mlflow_artifacts_url,
    }
    for name, url in buckets.items():
        if url:
            found[name] = lambda name=name, url=url: _bucket(name, url)  # type: ignore[misc]
    if settings.otel_exporter_otlp_endpoint:
        endpoint = settings.otel_exporter_otlp_endpoint
        found["OTEL_EXPORTER_OTLP_ENDPOINT"] = lambda: _collector(endpoint)
    return found


def place(url: str) -> str:
    """Host and port of an address, without user, password and path.

    >>> place("redis://:secret@cache.example.com:6379/0")
    'cache.example.com:6379'
    """
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _kafka(settings: Settings) -> str:
    from shadow_platform.adapters.kafka import KafkaSettings

    try:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient
    except ImportError as error:
        raise _missing("kafka", error) from error
    servers = str(settings.kafka_bootstrap_servers)
    # Without a logger of its own librdkafka would write to stderr beside the answer.
    options = KafkaSettings(servers, settings.kafka_config).of({}, log_level="0")
    try:
        found = AdminClient(options).list_topics(timeout=TIMEOUT_S)
    except KafkaException as error:
        raise ShadowPlatformError(
            f"no Kafka broker at {servers} answers ({error.args[0].str()}); start it, or correct "
            "KAFKA_BOOTSTRAP_SERVERS or KAFKA_CONFIG"
        ) from error
    return f"{len(found.brokers)} brokers, {len(found.topics)} topics"


def _redis(url: str) -> str:
    try:
        import redis
    except ImportError as error:
        raise _missing("redis", error) from error
    try:
        with redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S) as client:
            n_keys = client.dbsize()
    except redis.RedisError as error:
        raise _unanswered("REDIS_URL", place(url), error) from error
    return f"{place(url)} answers, {n_keys} keys"


def _postgres(name: str, url: str) -> str:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    scheme, _, rest = url.partition("://")
    address = f"{scheme if '+' in scheme else 'postgresql+psycopg'}://{rest}"
    try:
        engine = create_engine(address, poolclass=NullPool, connect_args={"connect_timeout": TIMEOUT_S})
        with engine.connect() as connection:
            version = connection.execute(text("SHOW server_version")).scalar_one()
    except ImportError as error:
        raise _missing("postgres", error) from error
    except SQLAlchemyError as error:
        raise _unanswered(name, place(url), error) from error
    return f"{place(url)} answers, Postgres {version}"


def _bucket(name: str, url: str) -> str:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise _missing("s3", error) from error
    bucket, endpoint = urlsplit(url).netloc, None
    if name == "MLFLOW_ARTIFACTS_URL":
        from mlflow.environment_variables import MLFLOW_S3_ENDPOINT_URL

        endpoint = MLFLOW_S3_ENDPOINT_URL.get()  # type: ignore[no-untyped-call]
    config = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"max_attempts": 1})
    try:
        boto3.client("s3", config=config, endpoint_url=endpoint).head_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError) as error:
        raise ShadowPlatformError(
            f"bucket {bucket} of {name} cannot be reached ({_first_line(error)}); create it, or correct {name}, "
            "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    return f"bucket {bucket} answers"


def _collector(endpoint: str) -> str:
    from shadow_platform.adapters.tracing import ask_collector

    name, answer = "OTEL_EXPORTER_OTLP_ENDPOINT", ask_collector(endpoint, TIMEOUT_S)
    if isinstance(answer, str):
        raise ShadowPlatformError(f"{place(endpoint)} does not answer ({answer}); start it, or correct {name}")
    if answer in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        advice = "set OTEL_EXPORTER_OTLP_HEADERS to the header that it asks for"
    else:
        advice = f"set {name} to the base URL of the collector's HTTP port (4318)"
    if answer != HTTPStatus.OK:
        raise ShadowPlatformError(f"{place(endpoint)} answers {int(answer)} to an OTLP export, expected 200; {advice}")
    return f"{place(endpoint)} takes traces"


def _unanswered(name: str, where: str, error: Exception) -> ShadowPlatformError:
    return ShadowPlatformError(f"{where} does not answer ({_first_line(error)}); start it, or correct {name}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].removeprefix("(psycopg.OperationalError) ")


def _missing(extra: str, error: ImportError) -> ShadowPlatformError:
    return ShadowPlatformError(f"package {error.name} is not installed; run pip install 'shadow-platform[{extra}]'")
