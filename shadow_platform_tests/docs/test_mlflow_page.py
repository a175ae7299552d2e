"""The page on MLflow: its notebook runs on a registry of ours, and the aliases it names are those of the platform."""

import re
from pathlib import Path
from typing import Any

from shadow_platform.adapters.deployment.manifest import ALIASES
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.cli.versions_home import CARDED, VersionsHome
from shadow_platform_tests.sources import REPOSITORY
from shadow_platform_tests.tiny import USE_CASE

PAGE = (REPOSITORY / "docs" / "mlflow.md").read_text(encoding="utf-8")


def test_the_notebook_on_the_page_finds_champion_and_runs(layout: Layout) -> None:
    home = VersionsHome(layout.home)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    code = code.replace("sqlite:////srv/shadow/mlflow/mlflow.db", home.platform.settings.mlflow_uri)
    code = code.replace('"churn"', f'"{USE_CASE.name}"').replace("metrics.roc_auc DESC", "attributes.start_time DESC")
    names: dict[str, Any] = {"print": lambda *_: None}

    exec(compile(code, Path("docs/mlflow.md"), "exec"), names)

    assert str(names["champion"].version) == CARDED
    assert set(names["runs"]["run_id"]) >= {home.runs[CARDED]}


def test_every_alias_that_the_page_names_is_one() -> None:
    (row,) = re.findall(r"^\| aliases ([^|]+) \|", PAGE, re.MULTILINE)

    assert set(re.findall(r"`([a-z0-9-]+)`", row)) <= set(ALIASES)
