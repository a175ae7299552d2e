"""Fixtures of several tests of assets.

Belongs here: what a run needs besides its assets. Does not belong here: homes and rows (``served``, ``drifting``).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.use_case import RolloutPolicy
from shadow_platform_tests.assets.rolling import Play, Rolling


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """Dagster's storage of one test, in memory."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def play(layout: Layout) -> Play:
    """A home under a rollout policy; by default without canary and without approval."""

    def begin(**policy: Any) -> Rolling:
        return Rolling(layout, RolloutPolicy(**policy))

    return begin
