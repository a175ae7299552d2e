"""Features stage: feature rows from events, their definitions in Feast, and the online store.

``views`` holds the assets of feature views, ``making`` what a run does with the days of one, ``history`` how a day is
compared with those before it, ``online`` the definitions in Feast and the online store. Upstream: events. Downstream:
training_frame reads history through Feast, the service reads the online store.
"""

import dagster as dg

from shadow_platform.assets.features.online import OnlineWindow, build_feature_definitions, build_online_features
from shadow_platform.assets.features.views import build_view
from shadow_platform.contracts.use_case import UseCase

__all__ = ["OnlineWindow", "build_feature_assets"]


def build_feature_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the features stage."""
    views = [build_view(use_case, view) for view in use_case.views]
    return [*views, build_feature_definitions(use_case), build_online_features(use_case)]
