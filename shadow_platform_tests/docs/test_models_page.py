"""The page on models and versions: its code runs on a real version, and its numbers are those of the code."""

import re
from pathlib import Path
from typing import Any

import duckdb
import mlflow
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from shadow_platform.adapters.bundle import FILES
from shadow_platform.adapters.bundle.folder import KINDS
from shadow_platform.adapters.bundle.graph import OPERATOR_DOMAINS
from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.pages.card import card_html, card_json
from shadow_platform.adapters.tracking import TrainingRun
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import QualityPolicy
from shadow_platform.domain.training.parity import PARITY_LIMIT, PARITY_SHARE, PARITY_TOLERANCE
from shadow_platform.resources import PlatformResource
from shadow_platform_tests.cards import make_card
from shadow_platform_tests.sources import REPOSITORY
from shadow_platform_tests.trained import make_bundle

PAGE = (REPOSITORY / "docs" / "models.md").read_text()
TEXT = " ".join(PAGE.split())
MATRIX = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose use case churn has one version, with its model kept."""
    folder = tmp_path_factory.mktemp("models") / "home"
    platform = PlatformResource(shadow_home=str(folder))
    registry = platform.registry()
    mlflow.set_tracking_uri(platform.settings.mlflow_uri)
    mlflow.set_experiment(registry.experiment("churn"))
    documents = {"card.json": card_json(make_card()), "card.html": card_html(make_card(), {})}
    _, bundle = make_bundle(platform.layout.bundles, documents, use_case="churn")
    with mlflow.start_run() as run:
        TrainingRun(mlflow, run.info.run_id).log_model(LogisticRegression().fit(MATRIX, MATRIX[:, 0] > 0))
        registry.register("churn", bundle, run.info.run_id, {})
    Lake(platform.layout).publish_warehouse()
    return folder


@pytest.fixture
def ran(home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("SHADOW_HOME", str(home))
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/models.md", "exec"), names)
    return names


def test_the_code_of_the_page_gives_the_model_and_its_card(ran: dict[str, Any]) -> None:
    assert ran["estimator"].predict_proba(MATRIX).shape == (50, 2)
    assert ran["card"] == make_card()


@pytest.mark.parametrize("query", re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL))
def test_a_query_of_the_page_runs(home: Path, query: str) -> None:
    with duckdb.connect(str(Layout(home).warehouse), read_only=True) as connection:
        assert connection.execute(query).fetchall() == []


def test_the_files_and_kinds_on_the_page_are_those_of_the_code() -> None:
    named = set(re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE))
    files = {name for cell in named for name in re.findall(r"`([a-z]+\.[a-z]+)`", cell)}

    assert files == {*FILES, "card.json", "card.html"}
    assert {f"`{kind}`" for kind in KINDS if f"`{kind}`" not in TEXT} == set()
    assert {f"`{domain}`" for domain in OPERATOR_DOMAINS if domain and f"`{domain}`" not in TEXT} == set()


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    default = QualityPolicy()
    for name in ("min_roc_auc", "min_log_loss_gain", "max_calibration_error"):
        assert f"| `{name}` | {getattr(default, name)} |" in PAGE
    shown = f"{PARITY_SHARE:.2%}".replace("%", " %")
    assert f"{shown} of the evaluation rows within {PARITY_TOLERANCE:.5f}" in TEXT
    assert f"none beyond {PARITY_LIMIT:g}" in TEXT
