"""Settings: defaults, refusals, and the file that documents them."""

import traceback
from pathlib import Path

import pytest

from shadow_platform.contracts.errors import SettingsError
from shadow_platform.contracts.redaction import redact
from shadow_platform.settings import Settings, load_settings
from shadow_platform_tests import env_example


def test_the_defaults_are_valid_and_stay_below_one_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SHADOW_HOME")
    monkeypatch.chdir(tmp_path)

    settings = load_settings()

    assert settings.layout.home == tmp_path / "data"
    assert settings.mlflow_uri == f"sqlite:///{tmp_path / 'data' / 'mlflow' / 'mlflow.db'}"
    assert settings.drift_threshold == 0.3
    assert settings.environment == "development"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENVIRONMENT", "prod"),
        ("DRIFT_THRESHOLD", "1.5"),
        ("MONITORING_INTERVAL", "soon"),
        ("MIN_SAMPLES_FOR_DECISION", "0"),
        ("CANARY_SPLIT", "-0.1"),
        ("SLO_ERROR_RATE", "2"),
        ("PORT", "70000"),
        ("MAX_BATCH_SIZE", "0"),
    ],
)
def test_a_bad_value_stops_the_start_with_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    message = str(caught.value)
    assert message.startswith(f"{name}='{value}': ")
    assert message.endswith("correct it in the environment or .env")
    assert "\n" not in message


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "0")
    monkeypatch.setenv("LOG_LEVEL", "LOUD")

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert [line.split("=")[0] for line in str(caught.value).splitlines()] == ["LOG_LEVEL", "PORT"]


def test_an_empty_value_means_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "")

    assert load_settings().redis_url is None


def test_no_log_or_traceback_shows_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATURE_STORE", "scale")
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@cache:6379")
    monkeypatch.setenv("POSTGRES_URL", "postgresql://feast:hunter2@database/features")
    monkeypatch.setenv("FEATURES_URL", "s3://features/rows")

    settings = load_settings()

    assert settings.stores.redis_url == "redis://:hunter2@cache:6379"
    assert settings.stores.postgres_url == "postgresql://feast:hunter2@database/features"
    assert "hunter2" not in f"{settings!r} {settings} {settings.stores!r} {settings.stores}"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_no_refusal_shows_a_password(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name.upper(), "https://who:hun@ter2@example.com ?")
    try:
        load_settings()
    except SettingsError as error:
        told = "".join(traceback.format_exception(error))
        assert name.upper() in told
        assert "ter2" not in told


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "TABLES_URL", "MLFLOW_ARTIFACTS_URL"])
def test_an_address_with_a_password_is_refused_without_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "https://who:hunter2@example.com")

    with pytest.raises(SettingsError) as caught:
        load_settings()
    said = (
        f"{name}='https://***@example.com': expected no user or password in it; correct it in the environment or .env"
    )
    assert str(caught.value) == redact(str(caught.value)) == said


def test_an_address_of_another_form_is_told_which_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TABLES_URL", "bucket/prefix")

    with pytest.raises(SettingsError, match=r"^TABLES_URL='bucket/prefix': expected where .* s3://bucket/prefix; "):
        load_settings()


def test_a_database_without_a_driver_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "shadow:hunter2@db/shadow")

    with pytest.raises(SettingsError, match="names no driver, expected postgresql\\+psycopg2://") as caught:
        load_settings().dagster_postgres  # noqa: B018 - the reading of it refuses
    assert "hunter2" not in str(caught.value)


def test_the_environment_wins_over_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("PORT=8100\nLOG_LEVEL=DEBUG\n")
    monkeypatch.setitem(Settings.model_config, "env_file", env_file)
    monkeypatch.setenv("PORT", "8200")

    settings = load_settings()

    assert (settings.port, settings.log_level) == (8200, "DEBUG")


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_env_example_equals_the_settings(repository: Path) -> None:
    assert (repository / env_example.ENV_EXAMPLE).read_text() == env_example.render_env_example(), "run: make envfile"


def test_the_page_on_configuration_equals_the_settings(repository: Path) -> None:
    page = (repository / env_example.CONFIGURATION).read_text()

    assert page == env_example.render_configuration(), "run: make envfile"


def test_the_env_example_uncommented_gives_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = [line.removeprefix("# ") for line in env_example.render_env_example().splitlines()]
    names = {name.upper() for name in Settings.model_fields}
    env_file = tmp_path / ".env"
    env_file.write_text("\n".join(line for line in lines if line.split("=")[0] in names))
    monkeypatch.setitem(Settings.model_config, "env_file", env_file)
    for name in names:
        monkeypatch.delenv(name, raising=False)

    assert load_settings() == Settings.model_construct()
