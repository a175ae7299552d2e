"""Dagster resources: the adapters, opened with the settings in force.

Upstream: settings, adapters, and the stages of the domain that several callers share (``labels``, ``a_a``). Downstream:
assets and sensors, which take ``platform: PlatformResource`` and no more. Adapters are imported when first used, so
that loading the code location stays quick.
"""

from shadow_platform.resources.a_a import AARuns
from shadow_platform.resources.alerting import Alerting
from shadow_platform.resources.decision_pages import DecisionPages
from shadow_platform.resources.deployments import EmergencyChange, Transition
from shadow_platform.resources.models import Models
from shadow_platform.resources.pages import Pages
from shadow_platform.resources.rollouts import Rollouts
from shadow_platform.resources.world import World

__all__ = ["EmergencyChange", "PlatformResource", "Transition"]


class PlatformResource(World, Models, Pages, Rollouts, AARuns, Alerting, DecisionPages):
    """Opens every adapter with one set of settings and one clock."""
