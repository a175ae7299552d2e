"""OpenAPI documents as they were agreed upon, one JSON file a use case; callers generate code from them.

``python -m shadow_platform_tests.bento.openapi_snapshots`` writes them anew after a change of the contract that is
meant; the difference shows what callers will see. Upstream: bento.api.openapi. Downstream: test_openapi.
"""

import json
from pathlib import Path

from bento.api.openapi import openapi_document
from shadow_platform.contracts.use_case import UseCase
from shadow_platform.use_cases import load_use_case, use_case_names
from shadow_platform_tests.bento.shop import USE_CASE as SHOP
from shadow_platform_tests.tiny import USE_CASE as TINY

USE_CASES = (TINY, SHOP, *map(load_use_case, use_case_names()))
MAX_BATCH_SIZE = 1000


def snapshot_path(use_case: UseCase) -> Path:
    """File of a use case's document."""
    return Path(__file__).parent / f"{use_case.name}.json"


def snapshot_text(use_case: UseCase) -> str:
    """Document as it stands in the file; the version of the platform is left out, because it changes by itself."""
    document = openapi_document(use_case, MAX_BATCH_SIZE)
    del document["info"]["version"]
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
