"""One set of observed processes for all tests of alerts and dashboards: starting it costs seconds."""

from shadow_platform_tests.deploy.observed import observed as observed
