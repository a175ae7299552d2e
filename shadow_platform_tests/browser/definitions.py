"""What the Dagster UI of the browser tests loads: the tiny use case, as any other would be."""

from shadow_platform.definitions import build_definitions
from shadow_platform_tests.tiny import USE_CASE

defs = build_definitions([USE_CASE])
