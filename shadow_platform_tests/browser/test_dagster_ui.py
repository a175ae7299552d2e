"""What a person sees in the Dagster UI, without internet access."""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.resources import files

import pytest

from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.browser.chromium import visit
from shadow_platform_tests.processes import free_port, start
from shadow_platform_tests.sources import REPOSITORY

pytestmark = [pytest.mark.browser, pytest.mark.processes, pytest.mark.timeout(900)]
DEFINITIONS = "shadow_platform_tests.browser.definitions"
STAGES = ("events", "features", "training", "shadow", "comparison", "labels", "drift", "gates", "promotion")


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a webserver on an empty instance with the platform's own settings."""
    layout, port = Layout(tmp_path_factory.mktemp("ui")), free_port()
    layout.dagster.mkdir(parents=True)
    shutil.copyfile(str(files("shadow_platform") / "dagster.yaml"), layout.dagster / "dagster.yaml")
    command = [sys.executable, "-m", "dagster_webserver", "-m", DEFINITIONS, "-h", "127.0.0.1", "-p", str(port)]
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(layout.dagster),
        "SHADOW_HOME": str(layout.home),
        "PYTHONPATH": str(REPOSITORY),
    }
    webserver = start(command, layout.home / "webserver.log", environment, layout.home)
    try:
        webserver.wait_for_port(port, 240)
        yield f"http://127.0.0.1:{port}"
    finally:
        webserver.stop()


def test_the_asset_graph_shows_every_stage_of_a_use_case_without_leaving_this_machine(ui: str) -> None:
    with visit() as seen:
        seen.page.goto(f"{ui}/asset-groups/")
        for stage in STAGES:
            seen.page.get_by_text(stage, exact=True).first.wait_for()

        assert seen.refused == []
        assert seen.script_errors == []


def test_an_asset_page_shows_where_the_asset_comes_from(ui: str) -> None:
    with visit() as seen:
        seen.page.goto(f"{ui}/assets/tiny/predictions")
        seen.page.get_by_text("from the prediction log").first.wait_for()

        assert seen.refused == []
