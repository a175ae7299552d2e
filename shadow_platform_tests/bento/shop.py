"""Use case ``shop``: the tiny use case without a feature view, so that serving tests need no feature store.

Upstream: tiny. Downstream: serving tests, and the processes they start, by ``NAME``.
"""

from dataclasses import replace

from shadow_platform_tests.tiny import USE_CASE as TINY

NAME = "shadow_platform_tests.bento.shop:USE_CASE"
USE_CASE = replace(
    TINY, name="shop", views=(), entities=(), features=tuple(feature for feature in TINY.features if not feature.view)
)
