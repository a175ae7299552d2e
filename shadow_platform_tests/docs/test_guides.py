"""The guides of operators: settings and files that they name exist, and what they say of the code is so."""

import re
from pathlib import Path

import pytest

from shadow_platform.adapters.backup.contents import LEFT_OUT_BELOW_SERVING, ROOTS
from shadow_platform.cli.backup import elsewhere
from shadow_platform.settings import Settings, load_settings
from shadow_platform_tests.sources import REPOSITORY

GUIDES = ("capacity", "cloud", "mlflow", "operations", "rollback", "security", "troubleshooting", "upgrade")
FOREIGN = ("AWS_", "MLFLOW_S3_", "OTEL_", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
NO_SETTINGS = {"BGSAVE", "MANAGE", "READ", "DEBUG"}
"""Words in capitals of other tools."""


def page(name: str) -> str:
    return (REPOSITORY / "docs" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", GUIDES)
def test_every_setting_that_a_guide_names_exists(name: str) -> None:
    words = set(re.findall(r"`([A-Z][A-Z0-9_]{3,})[`=]", page(name))) - NO_SETTINGS
    ours = {word for word in words if not word.startswith(FOREIGN)}

    assert ours <= {field.upper() for field in Settings.model_fields}


@pytest.mark.parametrize("name", GUIDES)
def test_every_file_of_deploy_that_a_guide_names_exists(name: str) -> None:
    named = set(
        re.findall(
            r"deploy/(?:alertmanager|argocd|compose|docker|grafana|helm|k8s|prometheus|terraform)[a-z0-9_./-]*[a-z0-9_/]",
            page(name),
        )
    )

    assert [path for path in sorted(named) if not (REPOSITORY / path).exists()] == []


def test_the_backup_guide_names_every_server_that_a_backup_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for field, value in {
        "FEATURE_STORE": "scale",
        "MLFLOW_TRACKING_URI": "https://mlflow.example.com",
        "MLFLOW_ARTIFACTS_URL": "s3://models/mlflow",
        "DAGSTER_POSTGRES_URL": "postgresql+psycopg2://user@db.example.com/dagster",
        "LOG_TRANSPORT": "kafka",
    }.items():
        monkeypatch.setenv(field, value)
    table = page("upgrade").partition("### What lies on servers")[2].partition("## Restore")[0]

    named = {setting for text in elsewhere(load_settings()) for setting in re.findall(r"[A-Z]+_[A-Z_]+", text)}
    assert named - {"FEATURE_STORE", "MLFLOW_TRACKING_URI", "LOG_TRANSPORT"} <= set(
        re.findall(r"[A-Z]+_[A-Z_]+", table)
    )
    assert all(word in table for word in ("MLflow", "Kafka", "REDIS_URL", "Postgres"))


def test_the_order_that_the_backup_guide_tells_is_the_one_of_the_code() -> None:
    told = [
        ("Dagster's cursors, runs, events", "dagster/schedules"),
        ("reports, tables", "reports"),
        ("keyed answers, shadow log, then prediction log", "serving"),
        ("manifest, aliases", "serving/*.json"),
        ("bundles, artifacts", "bundles"),
        ("lake", "lake"),
        ("the online store", "feast"),
        ("raw events", "raw"),
    ]
    rows = [row.split("|")[1].strip() for row in page("upgrade").splitlines() if row.startswith("| ")]
    places = [next(place for place, row in enumerate(rows) if row.startswith(words)) for words, _ in told]

    assert places == sorted(places)
    assert [ROOTS.index(root) for _, root in told] == sorted(ROOTS.index(root) for _, root in told)
    assert LEFT_OUT_BELOW_SERVING == (".workers", ".shadow", ".canary")


def test_the_sums_of_the_capacity_guide_are_right() -> None:
    text = page("capacity")
    for left, unit, right in re.findall(r"\| [a-z ]+ \| ([0-9M.,× ÷+()]+?)(?: days)? = ([0-9.]+) (GB|[^ |]*)", text):
        sides = left.replace("M", "e6").replace(" e6", "e6").replace(",", "").replace("×", "*").replace("÷", "/")
        value = eval(sides) / (1e9 if right == "GB" else 1)
        assert value == pytest.approx(float(unit), rel=0.06), left
    assert len(re.findall(r" = [0-9.]+ GB", text)) == 3


def test_the_runbook_leaves_rollback_to_its_own_page() -> None:
    runbook = (Path(REPOSITORY) / "docs" / "runbook.md").read_text(encoding="utf-8")

    assert "## Who rolls back, and how fast" in page("rollback")
    assert "slo-guard" not in runbook
