"""Use case ``tiny`` with topics: its visits and purchases come through a stream.

Belongs here: the declaration. Does not belong here: assertions. Upstream: tiny. Downstream: tests of the stream, as
``shadow_platform_tests.streaming.shop:USE_CASE``. Another process, or a test of its own, takes other topics by the
environment: ``SHOP_TOPICS`` is put before their names.
"""

import os
from dataclasses import replace

from shadow_platform.contracts.use_case import Topic, UseCase
from shadow_platform_tests import tiny

NAME = "shadow_platform_tests.streaming.shop:USE_CASE"
PREFIX = "SHOP_TOPICS"


def shop(prefix: str) -> UseCase:
    """The use case with topics of this prefix."""
    kinds = tiny.USE_CASE.events
    return replace(
        tiny.USE_CASE, events=tuple(replace(kind, topic=Topic(f"{prefix}{kind.name}", "visitor_id")) for kind in kinds)
    )


USE_CASE = shop(os.environ.get(PREFIX, ""))
