"""Use case ``shop``: the tiny use case without a feature view, so that serving tests need no feature store.

``EXPLORING`` is the same shop where a positive decision hides its outcome, and a quarter of them are not carried out.
Upstream: tiny. Downstream: serving tests, and the processes they start, by ``NAME`` or ``EXPLORING_NAME``.
"""

from dataclasses import replace

from shadow_platform.contracts.use_case import ActionSpec, Exploration
from shadow_platform_tests.tiny import USE_CASE as TINY

NAME = "shadow_platform_tests.bento.shop:USE_CASE"
USE_CASE = replace(
    TINY, name="shop", views=(), entities=(), features=tuple(feature for feature in TINY.features if not feature.view)
)

EXPLORING_NAME = "shadow_platform_tests.bento.shop:EXPLORING"
EXPLORING = replace(
    USE_CASE,
    label=replace(USE_CASE.label, hidden_by="platform"),
    answer=replace(USE_CASE.answer, action=ActionSpec("action", "allow", "block")),
    exploration=Exploration(0.25),
)
