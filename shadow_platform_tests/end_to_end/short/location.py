"""The code location that the processes of Dagster load: the short flights, as any use case would be."""

from shadow_platform.definitions import build_definitions
from shadow_platform_tests.end_to_end.short.flights import USE_CASE

defs = build_definitions([USE_CASE])
