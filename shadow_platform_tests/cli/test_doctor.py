"""`shadow doctor` asks every server that is set, and says which does not answer and what to do about it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from shadow_platform.cli import typer_app
from shadow_platform_tests.broker import Broker
from shadow_platform_tests.feature_servers import Postgres, Valkey
from shadow_platform_tests.processes import free_port
from shadow_platform_tests.registry_servers import BUCKET, ObjectStore


def doctor() -> dict[str, str]:
    """What is said of each check, by its name; begins with ok or fail."""
    lines = CliRunner().invoke(typer_app, ["doctor", "-u", "shadow_platform_tests.tiny:USE_CASE"]).output.splitlines()
    found = (line.partition(": ") for line in lines if line.startswith(("ok ", "fail ")))
    return {head.split(maxsplit=1)[1]: f"{head.split()[0]} {told}" for head, _, told in found}


@pytest.fixture(scope="module")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """An S3 object store with one bucket."""
    store = ObjectStore(tmp_path_factory.mktemp("s3"))
    try:
        yield store.start()
    finally:
        store.stop()


class Collector(BaseHTTPRequestHandler):
    """Takes exports where an OTLP collector does, and asks for a token elsewhere."""

    def do_POST(self) -> None:
        is_known = self.headers.get("Authorization") == "Bearer of-this-test"
        status = {"/v1/traces": 200, "/asks/v1/traces": 200 if is_known else 401}.get(self.path, 404)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def collector() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def servers(
    tmp_path: Path,
    valkey: Valkey,
    postgres: Postgres,
    object_store: ObjectStore,
    collector: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dict[str, str]]:
    """Everything that can be set, as it is set; ``doctor`` reads the environment."""
    broker = Broker(tmp_path).start()
    database = urlsplit(postgres.new_database())
    found = {
        "KAFKA_BOOTSTRAP_SERVERS": broker.servers,
        "REDIS_URL": valkey.url,
        "POSTGRES_URL": database.geturl(),
        "DAGSTER_POSTGRES_URL": f"postgresql+psycopg2://{database.netloc}{database.path}",
        "FEATURES_URL": f"s3://{BUCKET}/features",
        "TABLES_URL": f"s3://{BUCKET}/tables",
        "MLFLOW_ARTIFACTS_URL": f"s3://{BUCKET}/models",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
    }
    for name, value in {**found, **object_store.settings, "FEATURE_STORE": "scale"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store.url)
    yield found
    broker.stop()


@pytest.mark.processes
@pytest.mark.timeout(400)
def test_every_server_that_answers_is_ok(servers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shadow_platform.cli.servers.TIMEOUT_S", 60)

    told = doctor()

    assert {name: told[name].split()[0] for name in servers} == dict.fromkeys(servers, "ok")
    assert told["KAFKA_BOOTSTRAP_SERVERS"] == "ok 1 brokers, 0 topics"
    assert "Postgres" in told["POSTGRES_URL"]


WRONG = {
    "KAFKA_BOOTSTRAP_SERVERS": ("127.0.0.1:{port}", "no Kafka broker at 127.0.0.1:{port} answers"),
    "REDIS_URL": ("redis://:pass-word@127.0.0.1:{port}", "127.0.0.1:{port} does not answer"),
    "POSTGRES_URL": ("postgresql://user:pass-word@127.0.0.1:{port}/features", "127.0.0.1:{port} does not answer"),
    "DAGSTER_POSTGRES_URL": ("postgresql+psycopg2://user:pass-word@127.0.0.1:{port}/dagster", "does not answer"),
    "FEATURES_URL": ("s3://absent-bucket/features", "bucket absent-bucket of FEATURES_URL cannot be reached"),
    "TABLES_URL": ("s3://absent-bucket/tables", "bucket absent-bucket of TABLES_URL cannot be reached"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("http://127.0.0.1:{port}", "127.0.0.1:{port} does not answer"),
}


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_a_server_that_does_not_answer_is_named_with_what_to_do_and_without_its_password(
    servers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    for name, (url, _) in WRONG.items():
        monkeypatch.setenv(name, url.format(port=port))

    told = doctor()

    for name, (_, message) in WRONG.items():
        assert told[name].startswith("fail "), name
        assert message.format(port=port) in told[name]
        assert f"correct {name}" in told[name]
        assert "pass-word" not in told[name]
    assert told["MLFLOW_ARTIFACTS_URL"].startswith("ok ")


@pytest.mark.processes
def test_a_collector_that_answers_elsewhere_is_told_from_one_that_is_away(
    collector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{collector}/elsewhere")

    told = doctor()["OTEL_EXPORTER_OTLP_ENDPOINT"]

    assert "answers 404 to an OTLP export, expected 200" in told
    assert "set OTEL_EXPORTER_OTLP_ENDPOINT to the base URL of the collector's HTTP port (4318)" in told


@pytest.mark.processes
def test_a_collector_is_asked_as_spans_are_sent(collector: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the place itself or the base URL, with the headers that the variables of OpenTelemetry give."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{collector}/v1/traces")
    assert doctor()["OTEL_EXPORTER_OTLP_ENDPOINT"].startswith("ok ")

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{collector}/asks")
    told = doctor()["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert "answers 401 to an OTLP export, expected 200; set OTEL_EXPORTER_OTLP_HEADERS" in told

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer of-this-test")
    assert doctor()["OTEL_EXPORTER_OTLP_ENDPOINT"].startswith("ok ")


@pytest.mark.parametrize(
    ("name", "value", "check", "message"),
    [
        (
            "DAGSTER_POSTGRES_URL",
            "postgresql://user:pass-word@127.0.0.1/dagster",
            "DAGSTER_POSTGRES_URL",
            "begins with postgresql://, expected postgresql+psycopg2://",
        ),
        ("SERVE_ROLES", "predictor,guards", "settings", "expected one or more of predictor, shadow, guard"),
    ],
)
def test_what_a_service_or_dagster_would_refuse_is_no_ok(
    name: str, value: str, check: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    told = doctor()[check]

    assert told.startswith("fail ")
    assert message in told
    assert "pass-word" not in told


def test_nothing_that_is_not_set_is_asked() -> None:
    assert set(doctor()) == {"settings", "home", "use case", "feature store", "registry", "deployment"}
