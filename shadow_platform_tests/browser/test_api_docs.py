"""What a developer sees on the API's own documentation page, without internet access."""

from collections.abc import Iterator

import pytest

from bento.serve import running_service
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import deploy, settings_at
from shadow_platform_tests.browser.chromium import visit
from shadow_platform_tests.processes import free_port

pytestmark = [pytest.mark.browser, pytest.mark.processes]
ROUTES = ("/predict", "/predict/batch", "/ready", "/model", "/shadow/comparison")
PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a service with one model."""
    settings = settings_at(tmp_path_factory.mktemp("api"))
    deploy(settings.layout, line_bundle(settings.layout.bundles))
    with running_service(settings, shop.NAME, free_port(), shadow=False) as service:
        yield service.url


def test_the_documentation_shows_every_route_and_loads_nothing_from_elsewhere(api: str) -> None:
    with visit() as seen:
        seen.page.goto(f"{api}/docs")
        for route in ROUTES:
            seen.page.get_by_text(route, exact=True).first.wait_for(timeout=PATIENCE_MS)

        assert seen.refused == []
        assert seen.script_errors == []


def test_a_request_can_be_tried_from_the_documentation_page(api: str) -> None:
    with visit() as seen:
        seen.page.goto(f"{api}/docs")
        operation = seen.page.locator(".opblock-post").filter(has_text="Answer one request").first
        operation.click(timeout=PATIENCE_MS)
        operation.get_by_role("button", name="Try it out").click()
        operation.get_by_role("button", name="Execute").click()

        operation.get_by_text("purchase_probability").last.wait_for(timeout=PATIENCE_MS)
        assert (
            operation.locator(".live-responses-table tr.response td.response-col_status")
            .first.inner_text()
            .startswith("200")
        )
