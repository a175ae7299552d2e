"""Writes every snapshot anew; see the package."""

from shadow_platform_tests.bento.openapi_snapshots import USE_CASES, snapshot_path, snapshot_text

for use_case in USE_CASES:
    snapshot_path(use_case).write_text(snapshot_text(use_case), encoding="utf-8")
    print(snapshot_path(use_case))
