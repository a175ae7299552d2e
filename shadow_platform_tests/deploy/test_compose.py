"""The Compose file: valid, hardened, and naming only what exists: settings, commands, files, services, ports."""

import pkgutil
import re
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths

import shadow_platform.use_cases
from shadow_platform.cli.log import _keep_h
from shadow_platform.contracts import metrics
from shadow_platform.settings import Settings
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.deploy.commands import surplus_words, unknown_words
from shadow_platform_tests.deploy.composed import (
    EXAMPLE,
    FILE,
    FOLDER,
    composed,
    example,
    filled,
    is_ours,
    required,
    services,
)
from shadow_platform_tests.deploy.composed import variables as variables_of_the_file
from shadow_platform_tests.deploy.images import command_of, environment_of

SERVICES = services()
OURS = {name: service for name, service in SERVICES.items() if is_ours(service)}
SECRET = re.compile(r"PASSWORD|TOKENS?$|_USER$|^ALERT_URLS$")
OF_TOOLS = re.compile(r"AWS_|MLFLOW_(BACKEND_STORE_URI|S3_ENDPOINT_URL|SERVER_ENABLE_JOB_EXECUTION)$")
DONE = "service_completed_successfully"
each_service = pytest.mark.parametrize("name", SERVICES)
each_of_ours = pytest.mark.parametrize("name", OURS)


def test_the_file_is_valid_by_the_schema_of_the_compose_specification() -> None:
    check = Path(sys.executable).with_name("check-jsonschema")
    command = [str(check), "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_example_of_the_environment_names_every_variable_and_no_other() -> None:
    assert example().keys() - {"COMPOSE_PROFILES"} == variables_of_the_file().keys()
    profiles = {profile for service in SERVICES.values() for profile in service["profiles"]}
    assert set(example()["COMPOSE_PROFILES"].split(",")) <= profiles == {"core", "streaming", "observability"}


def test_no_secret_has_a_default_and_an_empty_one_stops_compose_or_stays_empty() -> None:
    secrets = {name: forms for name, forms in variables_of_the_file().items() if SECRET.search(name)}
    assert {"POSTGRES_PASSWORD", "PREDICT_TOKENS", "GRAFANA_PASSWORD"} <= secrets.keys()
    assert {name: forms for name, forms in secrets.items() if not forms <= {":?", "-"}} == {}
    assert [name for name in secrets if example()[name]] == []
    for name in required():
        with pytest.raises(KeyError, match=name):
            composed({**filled(), name: ""})
    assert variables_of_the_file()["ENVIRONMENT"] == {":-production"}


@each_service
def test_a_container_may_do_and_change_as_little_as_it_can(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is (name != "redpanda")
    assert not {"privileged", "cap_add", "network_mode", "devices"} & service.keys()
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert [port for port in service.get("ports", ()) if not port.startswith("127.0.0.1:")] == []
    if is_ours(service):
        assert service["init"] is True
        assert [mount for mount in service["tmpfs"] if mount.startswith("/tmp:")]


@each_service
def test_an_image_is_pinned_by_its_full_version_and_by_a_digest_where_one_is_given(name: str) -> None:
    image = SERVICES[name]["image"]
    assert re.search(r":[^:/]*\d[^:/]*$", image)
    assert not image.endswith(":latest")
    if not is_ours(SERVICES[name]):
        digests = {variable: f"@sha256:{variable}" for variable in example() if variable.endswith("_DIGEST")}
        pinned = composed({**filled(), **digests})["services"][name]["image"]
        assert re.fullmatch(re.escape(image) + r"@sha256:\w+_DIGEST", pinned)


@each_service
def test_a_long_running_container_has_a_health_check_that_can_be_run(name: str) -> None:
    service = SERVICES[name]
    if service["healthcheck"].get("disable"):
        assert name in {"bucket", "migrate", "producer", "otel-collector"}
        return
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    source = " ".join(service["healthcheck"]["test"])
    if "METRICS_PORT" in source:
        assert service["environment"]["METRICS_PORT"] in {9464, 9465}
    if "urllib" in source:
        compile(service["healthcheck"]["test"][-1], name, "exec")


def test_a_service_waits_for_others_of_its_profile_that_can_become_what_it_waits_for() -> None:
    order = {name: set(service.get("depends_on", {})) for name, service in SERVICES.items()}
    assert list(TopologicalSorter(order).static_order())
    for name, service in SERVICES.items():
        for other, wanted in service.get("depends_on", {}).items():
            assert SERVICES[other]["profiles"] == service["profiles"], (name, other)
            has_check = not SERVICES[other]["healthcheck"].get("disable")
            assert wanted["condition"] != "service_healthy" or has_check, (name, other)
            assert (wanted["condition"] == DONE) == (other in {"bucket", "migrate"}), (name, other)


@each_of_ours
def test_the_environment_of_a_container_is_settings_that_hold(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = SERVICES[name].get("environment", {})
    assert {key for key in given if key.lower() not in Settings.model_fields and not OF_TOOLS.match(key)} == set()
    for key in Settings.model_fields:
        monkeypatch.delenv(key.upper(), raising=False)
    image = "serving" if name == "predictor" else "platform"
    for key, value in {**environment_of(image), **{key: str(value) for key, value in given.items()}}.items():
        if key.lower() in Settings.model_fields:
            monkeypatch.setenv(key, value)
    settings = Settings(_env_file=None)
    if "FEATURE_STORE" in given:
        assert (settings.stores.column, settings.shadow_use_case) == ("scale", example()["SHADOW_USE_CASE"])


@each_of_ours
def test_the_command_of_a_container_exists_with_its_options(name: str) -> None:
    command = SERVICES[name].get("command") or command_of("serving" if name == "predictor" else "platform")
    if command[:1] == ["shadow"]:
        assert unknown_words(command[1:]) + surplus_words(command[1:]) == []
        return
    words = {"dagster": 3, "dagster-webserver": 1, "dagster-daemon": 2, "mlflow": 2}.get(command[0])
    if words is None:
        assert name in {"predictor", "bucket"}
        return
    program = Path(sys.executable).with_name(command[0])
    helped = subprocess.run([program, *command[1:words], "--help"], capture_output=True, text=True, check=False)
    assert helped.returncode == 0, helped.stderr
    options = [word.partition("=")[0] for word in command[words:] if word.startswith("--")]
    assert [option for option in options if option not in helped.stdout] == []


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """What lies at each place in a container, with ``:ro`` where it can only be read."""
    found = {}
    for mount in service.get("volumes", ()):
        source, target, *mode = mount.split(":")
        found[target] = ":".join([source, *mode])
    return found


def test_every_file_that_is_mounted_exists_and_every_volume_is_used() -> None:
    sources = [source for service in SERVICES.values() for source in mounts(service).values()]
    files = [source for source in sources if source.startswith(".")]
    assert [source for source in files if not source.endswith(":ro")] == []
    assert [source for source in files if not (FOLDER / source.removesuffix(":ro")).exists()] == []
    volumes = {source.removesuffix(":ro") for source in sources if not source.startswith(".")}
    assert volumes == composed(filled())["volumes"].keys()
    for service in SERVICES.values():
        given = {str(value) for value in service.get("environment", {}).values()}
        if "/var/lib/shadow-shared" in given:
            assert mounts(service)["/var/lib/shadow-shared"] == "home:ro"


def test_the_log_crosses_from_the_predictors_home_to_the_platforms() -> None:
    homes = {name: mounts(OURS[name]).get("/var/lib/shadow") for name in OURS}
    assert {name for name, home in homes.items() if home == "predictor-home"} == {"predictor", "relay"}
    assert {name for name, home in homes.items() if home == "home"} == OURS.keys() - {"predictor", "relay", "mlflow"}
    assert OURS["lander"]["environment"]["KAFKA_BOOTSTRAP_SERVERS"] == "redpanda:9092"
    assert any("--advertise-kafka-addr=internal://redpanda:9092" in word for word in SERVICES["redpanda"]["command"])


def test_the_relay_knows_that_its_home_only_answers_and_deletes_what_it_relayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept_h = {}
    for name in ("relay", "lander"):
        with monkeypatch.context() as patched:
            patched.delenv("SHADOW_SHARED", raising=False)
            patched.setenv("SHADOW_HOME", environment_of("platform")["SHADOW_HOME"])
            for key, value in OURS[name]["environment"].items():
                patched.setenv(key, str(value))
            kept_h[name] = _keep_h(Settings(_env_file=None))
    assert (kept_h["relay"] or 0) > 0
    assert kept_h["lander"] is None
    assert mounts(OURS["relay"]) == mounts(OURS["predictor"])


def test_the_profile_that_streams_is_for_use_cases_with_a_topic_which_the_example_names() -> None:
    shipped = [module.name for module in pkgutil.iter_modules(shadow_platform.use_cases.__path__)]
    streamed = {name for name in shipped if any(kind.topic for kind in load_use_case(name).events)}
    (line,) = [line for line in EXAMPLE.read_text().splitlines() if line.startswith("#") and "streaming" in line]
    assert {name for name in shipped if name in line} == streamed
    assert "streaming" not in example()["COMPOSE_PROFILES"] or example()["SHADOW_USE_CASE"] in streamed


def test_the_daemon_sees_the_processes_of_runs_and_keeps_its_name() -> None:
    daemon = SERVICES["daemon"]
    assert (daemon["pid"], daemon["hostname"]) == ("service:code-server", "dagster-daemon")
    assert daemon["depends_on"]["code-server"]["restart"] is True


def test_no_two_services_want_the_same_port_of_the_machine() -> None:
    ports = Counter(port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", ()))
    assert max(ports.values()) == 1
    assert ports.keys() == {"8000", "3000", "3001", "5000", "9001", "9090", "9093"}


def test_stores_are_reached_by_name_over_a_network_of_their_own() -> None:
    assert composed(filled())["networks"]["data"] == {"internal": True}
    for name in ("postgres", "valkey", "redpanda"):
        assert SERVICES[name]["networks"] == ["data"]
    for name, service in OURS.items():
        for key, value in service.get("environment", {}).items():
            for host in re.findall(r"(?:@|//)([a-z][\w-]*)(?=[:/])", str(value)):
                if "://" in str(value) and not str(value).startswith("s3:") and host != "shadow":
                    assert set(SERVICES[host]["networks"]) & set(service["networks"]), (name, key)


def test_prometheus_finds_every_container_that_serves_metrics_under_the_job_of_its_metrics() -> None:
    read = yaml.safe_load((FOLDER.parent / "prometheus" / "prometheus.yml").read_text())
    files = [Path(file).name for job in read["scrape_configs"] for file in job["file_sd_configs"][0]["files"]]
    assert {path.name for path in (FOLDER / "targets").iterdir()} == {*files, "alertmanager.yml"}
    found: dict[str, str] = {}
    for path in (FOLDER / "targets").glob("shadow-*.yml"):
        for group in yaml.safe_load(path.read_text()):
            found |= dict.fromkeys(group["targets"], path.stem)
            if path.stem in {"shadow-service", "shadow-worker"}:
                assert group["labels"] == {"use_case": example()["SHADOW_USE_CASE"]}
    serving = {f"{name}:{port}" for name in OURS if (port := OURS[name].get("environment", {}).get("METRICS_PORT"))}
    assert found.keys() == (serving | {"predictor:8000"}) - {"stream-consumer:9464"}
    assert set(found.values()) | {"shadow-stream"} >= {metric.job for metric in metrics.METRICS}
    assert "stream-consumer:9464" in (FOLDER / "targets" / "shadow-stream.yml").read_text()


def test_the_web_server_and_the_daemon_load_the_code_servers_definitions() -> None:
    (origin,) = location_origins_from_yaml_paths([str(FOLDER / "workspace.yaml")])
    assert isinstance(origin, GrpcServerCodeLocationOrigin)
    place = yaml.safe_load((FOLDER / "workspace.yaml").read_text())["load_from"][0]["grpc_server"]
    assert place == {"host": "code-server", "port": 4000, "location_name": "shadow_platform"}
    assert f"--port={place['port']}" in command_of("platform")
    assert f"--location-name={place['location_name']}" in command_of("platform")
    for name in ("daemon", "webserver"):
        assert mounts(SERVICES[name])["/etc/shadow/workspace.yaml"] == "./workspace.yaml:ro"
        assert "/etc/shadow/workspace.yaml" in " ".join(SERVICES[name]["command"])


def test_the_collector_takes_traces_where_the_example_sends_them() -> None:
    collector = yaml.safe_load((FOLDER / "otel-collector.yaml").read_text())
    for pipeline in collector["service"]["pipelines"].values():
        for kind, names in pipeline.items():
            assert set(names) <= collector[kind].keys()
    port = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]
    assert f"http://otel-collector:{port}" in (FOLDER / ".env.example").read_text()


def test_postgres_makes_every_database_that_an_address_names() -> None:
    made = set(re.findall(r"CREATE DATABASE (\w+);", (FOLDER / "postgres" / "databases.sql").read_text()))
    given = " ".join(str(value) for service in OURS.values() for value in service.get("environment", {}).values())
    assert set(re.findall(r"@postgres/(\w+)", given)) == made
