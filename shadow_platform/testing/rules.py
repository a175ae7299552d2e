"""What all rules share: the use case they are about, and its small world, made once.

Belongs here: the base of the classes of rules. Does not belong here: a rule. Upstream: small_world. Downstream: rules.
"""

from collections.abc import Hashable
from functools import lru_cache
from typing import ClassVar, cast

import pytest

from shadow_platform.contracts.use_case import UseCase
from shadow_platform.testing.small_world import SmallWorld


class Rules:
    """Tests of one use case."""

    use_case: ClassVar[UseCase]
    n_entities: ClassVar[int | None]

    @pytest.fixture
    def world(self) -> SmallWorld:
        """The use case's first days."""
        return _world(cast(Hashable, type(self)))


# Tests of one class run one after the other: the world of the latest is all that needs to be kept.
@lru_cache(maxsize=1)
def _world(rules: type[Rules]) -> SmallWorld:
    return SmallWorld(rules.use_case, rules.n_entities)
