"""Tests of the time machine: tiny journeys through real assets. Upstream: shadow_platform.time_machine."""
