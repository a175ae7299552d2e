"""Chromium as tests and the screenshot script use it: headless, and watched for requests that leave this machine.

Belongs here: opening pages. Does not belong here: what a page should show. Downstream: browser tests, make_screenshots.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Page, Route, sync_playwright

LOCAL_HOSTS = {"127.0.0.1", "localhost"}
LOCAL_SCHEMES = {"data", "blob", "about", "chrome", "file"}
PATIENCE_MS = 120_000
"""Longest wait for the browser, a page or an element; no wait is longer than it takes."""


def chromium_path() -> str | None:
    """Installed Chromium or Chrome; ``None`` without one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass(frozen=True, slots=True)
class Visit:
    """A page, and the addresses it tried to reach outside this machine (each was refused)."""

    page: Page
    refused: list[str] = field(default_factory=list)
    script_errors: list[str] = field(default_factory=list)


@contextmanager
def visit(width: int = 1600, height: int = 1000, scale: float = 1.0) -> Iterator[Visit]:
    """Open an empty page of this size; requests to other machines are refused and remembered."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=["--no-sandbox"], timeout=PATIENCE_MS
        )
        try:
            page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=scale)
            page.set_default_timeout(PATIENCE_MS)
            opened = Visit(page)
            page.route("**/*", lambda route: _answer(route, opened.refused))
            page.on("pageerror", lambda error: opened.script_errors.append(str(error)))
            yield opened
            page.unroute_all(behavior="ignoreErrors")  # requests under way would be answered on a closed page
        finally:
            browser.close()


def _answer(route: Route, refused: list[str]) -> None:
    address = route.request.url
    parts = urlsplit(address)
    if parts.hostname in LOCAL_HOSTS or parts.scheme in LOCAL_SCHEMES:
        route.continue_()
    else:
        refused.append(address)
        route.abort()
