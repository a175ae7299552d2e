"""Takes the pictures of the README from the Dagster UI, on the home folder a demo has left.

Run as ``python -m docs.make_screenshots`` (``make screenshots``) after ``make demo``. Belongs here: which pages, and
where the pictures go. Upstream: the instance in ``SHADOW_HOME``, Chromium. Downstream: README.md.
"""

import os
import sys
from pathlib import Path

from playwright.sync_api import Page

from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import load_settings
from shadow_platform_tests.browser.chromium import chromium_path, visit
from shadow_platform_tests.processes import Started, free_port, start

IMAGES = Path(__file__).parent / "images"
USE_CASE = "flights"
PLOT_ASSET = "shadow_comparison_hourly"
PATIENCE_MS = 120_000
SETTLE_MS = 3_000


def start_webserver(layout: Layout, port: int) -> Started:
    """Start the Dagster UI on the instance of a home folder."""
    command = [sys.executable, "-m", "dagster_webserver", "-m", "shadow_platform.definitions", "-p", str(port)]
    environment = {**os.environ, "DAGSTER_HOME": str(layout.dagster), "SHADOW_HOME": str(layout.home)}
    webserver = start(command, layout.dagster / "screenshots.log", environment, Path.cwd())
    webserver.wait_for_port(port, PATIENCE_MS / 1000)
    return webserver


def picture_asset_graph(page: Page, address: str) -> None:
    """The graph of one use case, every stage unfolded."""
    page.goto(f"{address}/asset-groups/")
    page.get_by_text("warehouse").first.wait_for(timeout=PATIENCE_MS)
    page.wait_for_timeout(SETTLE_MS)
    page.keyboard.press("Alt+E")
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=IMAGES / "asset_graph.png")


def picture_comparison(page: Page, address: str) -> None:
    """The plot that the latest materialization of the comparison carries."""
    page.goto(f"{address}/assets/{USE_CASE}/{PLOT_ASSET}?view=overview")
    page.get_by_text("[Show Markdown]").first.click(timeout=PATIENCE_MS)
    page.get_by_role("dialog").locator("img").first.wait_for(timeout=PATIENCE_MS)
    page.wait_for_timeout(SETTLE_MS)
    page.get_by_role("dialog").screenshot(path=IMAGES / "comparison.png")


def main() -> None:
    """Write the pictures; exits with one line when there is no demo or no browser."""
    layout = load_settings().layout
    if not (layout.dagster / "dagster.yaml").exists():
        sys.exit(f"{layout.dagster} holds no Dagster instance; run `make demo` first, or set SHADOW_HOME")
    if chromium_path() is None:
        sys.exit("no Chromium found; install it: apt-get install chromium")
    IMAGES.mkdir(exist_ok=True)
    port = free_port()
    webserver = start_webserver(layout, port)
    try:
        with visit(width=1800, height=1300) as seen:
            picture_asset_graph(seen.page, f"http://127.0.0.1:{port}")
            picture_comparison(seen.page, f"http://127.0.0.1:{port}")
    finally:
        webserver.stop()


if __name__ == "__main__":
    main()
