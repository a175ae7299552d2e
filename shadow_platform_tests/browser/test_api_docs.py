"""What a developer sees on the API's own documentation pages, without internet access."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from bento.serve import running_service
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import deploy, settings_at
from shadow_platform_tests.browser.chromium import visit
from shadow_platform_tests.processes import free_port

pytestmark = [pytest.mark.browser, pytest.mark.processes, pytest.mark.timeout(900)]
ROUTES = ("/predict", "/predict/batch", "/explain", "/ready", "/model", "/shadow/comparison", "/monitoring/stats")
SUMMARIES = ("Answer one request", "Explain what the champion says of one request", "Latest comparisons, newest first")
TOKEN = "browser-0123456789"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a service with one model, which wants a token."""
    settings = settings_at(tmp_path_factory.mktemp("api"), predict_tokens=SecretStr(TOKEN))
    deploy(settings.layout, line_bundle(settings.layout.bundles))
    with running_service(settings, shop.NAME, free_port(), shadow=False) as service:
        yield service.url


@pytest.mark.parametrize(("path", "texts"), [("docs", ROUTES), ("redoc", SUMMARIES)])
def test_a_page_shows_the_contract_and_loads_nothing_from_elsewhere(
    api: str, path: str, texts: tuple[str, ...]
) -> None:
    with visit() as seen:
        seen.page.goto(f"{api}/{path}")
        for text in texts:
            seen.page.get_by_text(text, exact=True).locator("visible=true").first.wait_for()
        seen.page.wait_for_load_state("networkidle")

        assert seen.refused == []
        assert seen.script_errors == []


def test_a_request_can_be_tried_from_the_documentation_page(api: str) -> None:
    with visit() as seen:
        seen.page.goto(f"{api}/docs")
        seen.page.get_by_role("button", name="Authorize").first.click()
        seen.page.locator(".auth-container input").first.fill(TOKEN)
        seen.page.locator(".auth-btn-wrapper").get_by_role("button", name="Apply credentials").click()
        seen.page.locator(".auth-btn-wrapper").get_by_role("button", name="Close").click()
        operation = seen.page.locator(".opblock-post").filter(has_text="Answer one request").first
        operation.click()
        operation.get_by_role("button", name="Try it out").click()
        operation.get_by_role("button", name="Execute").click()

        answer = operation.locator(".live-responses-table tr.response td.response-col_status").first
        answer.wait_for()
        assert answer.inner_text().startswith("200")
