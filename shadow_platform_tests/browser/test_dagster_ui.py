"""What a person sees in the Dagster UI, without internet access."""

import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.browser.chromium import visit
from shadow_platform_tests.conftest import StartProcess

pytestmark = [pytest.mark.browser, pytest.mark.processes]
DEFINITIONS = "shadow_platform_tests.browser.definitions"
STAGES = ("events", "features", "training", "shadow", "comparison", "labels", "drift", "gates", "promotion")


@pytest.fixture
def ui(start_process: StartProcess, layout: Layout, free_port: int) -> str:
    """Address of a webserver on an empty instance with the platform's own settings."""
    layout.dagster.mkdir(parents=True)
    shutil.copyfile(str(files("shadow_platform") / "dagster.yaml"), layout.dagster / "dagster.yaml")
    arguments = ["-m", "dagster_webserver", "-m", DEFINITIONS, "-h", "127.0.0.1", "-p", str(free_port)]
    start_process(arguments, DAGSTER_HOME=str(layout.dagster)).wait_for_port(free_port)
    return f"http://127.0.0.1:{free_port}"


def test_the_asset_graph_shows_every_stage_of_a_use_case_without_leaving_this_machine(ui: str, tmp_path: Path) -> None:
    with visit() as seen:
        seen.page.goto(f"{ui}/asset-groups/")
        for stage in STAGES:
            seen.page.get_by_text(stage, exact=True).first.wait_for(timeout=60_000)

        assert seen.refused == []
        assert seen.script_errors == []


def test_an_asset_says_what_one_row_of_it_is(ui: str) -> None:
    with visit() as seen:
        seen.page.goto(f"{ui}/assets/tiny/predictions")
        seen.page.get_by_text("predictions").first.wait_for(timeout=60_000)
        seen.page.get_by_text("Description").first.wait_for(timeout=60_000)

        assert seen.refused == []
