"""Fixtures of several tests of assets.

Belongs here: what a run needs besides its assets. Does not belong here: homes and rows (``served``, ``drifting``).
"""

from collections.abc import Iterator

import dagster as dg
import pytest


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """Dagster's storage of one test, in memory."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made
