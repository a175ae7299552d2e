"""What a person sees of the features in Feast's own UI, without internet access."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.contracts.layout import Layout
from shadow_platform.use_cases import load_use_case
from shadow_platform_tests.browser.chromium import visit
from shadow_platform_tests.processes import free_port, start
from shadow_platform_tests.sources import REPOSITORY

pytestmark = [pytest.mark.browser, pytest.mark.processes, pytest.mark.timeout(900)]
FRAUD = load_use_case("fraud")


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of ``feast ui`` on a home with the definitions of one use case and a model version."""
    layout, port = Layout(tmp_path_factory.mktemp("feast-ui")), free_port()
    store = FeastStore(layout, REPOSITORY / "feature_repo", FRAUD)
    store.apply()
    store.register_service("1", {"model": "trees"})
    command = [str(Path(sys.executable).with_name("feast")), "ui", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "SHADOW_HOME": str(layout.home)}
    process = start(command, layout.home / "ui.log", environment, REPOSITORY / "feature_repo")
    try:
        process.wait_for_port(port, 240)
        yield f"http://127.0.0.1:{port}/p/shadow_platform"
    finally:
        process.stop()


def test_a_view_shows_what_it_is_and_what_its_features_mean_without_leaving_this_machine(ui: str) -> None:
    view = FRAUD.views[1]
    with visit() as seen:
        seen.page.goto(f"{ui}/feature-view/fraud_{view.name}")
        seen.page.get_by_text(view.description).first.wait_for()
        for feature in FRAUD.view_features(view.name):
            seen.page.get_by_text(feature.name, exact=True).first.wait_for()

        assert seen.refused == []
        assert seen.script_errors == []


def test_a_derivation_shows_the_function_that_computes_it(ui: str) -> None:
    with visit() as seen:
        seen.page.goto(f"{ui}/feature-view/fraud_{FRAUD.derivations[0].name}")
        seen.page.get_by_text("derived_columns").first.wait_for()

        assert seen.refused == []


def test_a_model_version_shows_its_features(ui: str) -> None:
    with visit() as seen:
        seen.page.goto(f"{ui}/feature-service/fraud_v1")
        seen.page.get_by_text("trees", exact=True).first.wait_for()
        for view in FRAUD.views:
            seen.page.get_by_text(f"fraud_{view.name}").first.wait_for()

        assert seen.refused == []
