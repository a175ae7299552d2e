"""Leaves the browser tests out on a machine without Chromium; in CI they must run."""

import os

from shadow_platform_tests.browser.chromium import chromium_path

collect_ignore_glob = [] if chromium_path() or os.environ.get("CI") else ["test_*.py"]
