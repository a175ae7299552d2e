"""The page of a decision in a browser: complete without the net, readable, nothing cut off."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.verdicts import Decision
from shadow_platform_tests.assets.gate_home import AS_OF, USE_CASE, decide, served_home, stored
from shadow_platform_tests.assets.served import Home
from shadow_platform_tests.browser.chromium import Visit, visit

SECTIONS = ("Criteria", "Evidence over time", "Decisions that would change", "Calibration", "Segments")
LAST_SECTIONS = ("Cost of the decisions", "In the shadow", "What it rests on")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A served home on which a gate has decided twice: early to wait, later to promote."""
    made = served_home(Layout(tmp_path_factory.mktemp("page") / "home"))
    for as_of in (AS_OF - timedelta(days=11), AS_OF):
        decide(made, as_of=as_of, has_page=True)
    return made


@pytest.fixture(scope="module", params=[1200, 420], ids=["wide", "narrow"])
def browser(request: pytest.FixtureRequest) -> Iterator[Visit]:
    with visit(width=request.param, height=900) as opened:
        yield opened


def open_page(browser: Visit, home: Home, decision_id: str) -> str:
    browser.page.goto(home.layout.decision_page(USE_CASE.name, decision_id).as_uri())
    return browser.page.inner_text("body")


def test_a_promotion_shows_everything_it_rests_on_and_reaches_nothing_outside(home: Home, browser: Visit) -> None:
    decision = stored(home)[-1]

    text = open_page(browser, home, decision.decision_id)

    assert decision.decision is Decision.PROMOTE
    assert browser.page.inner_text(".verdict .word") == "Promote"
    headings = [heading.inner_text() for heading in browser.page.query_selector_all("h2")]
    assert headings == [*SECTIONS, *LAST_SECTIONS]
    assert browser.page.locator("tr:has(.pass)").count() == len(decision.criteria)
    assert all(value in text for value in decision.fingerprints.values())
    assert (browser.refused, browser.script_errors) == ([], [])


def test_pictures_are_there_and_nothing_is_wider_than_the_window(home: Home, browser: Visit) -> None:
    open_page(browser, home, stored(home)[-1].decision_id)

    widths = browser.page.evaluate("[...document.images].map(image => image.naturalWidth)")
    overflow = browser.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert len(widths) == 3
    assert min(widths) > 500
    assert overflow <= 0


def test_a_page_that_waits_says_what_is_missing_without_evidence_to_draw(home: Home, browser: Visit) -> None:
    decision = stored(home)[0]

    text = open_page(browser, home, decision.decision_id)

    assert browser.page.inner_text(".verdict .word") == "Wait"
    missing = browser.page.inner_text("section[aria-labelledby=missing]")
    assert all(c.reason in missing for c in decision.criteria if c.outcome != "pass")
    assert "There is nothing to draw yet" in text
    assert "nan" not in text.lower().split()
