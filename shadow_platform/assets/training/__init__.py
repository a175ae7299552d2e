"""Training stage: one point-in-time frame, and from it champion and challenger, exported, registered, accounted for.

Upstream: events, feature views. Downstream: deployment (aliases are set there, never here), model tables.
"""

import dagster as dg

from shadow_platform.assets.training.asking import ModelConfig, Trigger
from shadow_platform.assets.training.frame import FrameConfig, build_training_frame
from shadow_platform.assets.training.model import PARITY_CHECK, QUALITY_CHECK, build_model
from shadow_platform.assets.training.request import RequestConfig, build_retraining_request
from shadow_platform.contracts.use_case import UseCase

__all__ = [
    "PARITY_CHECK",
    "QUALITY_CHECK",
    "FrameConfig",
    "ModelConfig",
    "RequestConfig",
    "Trigger",
    "build_training_assets",
]


def build_training_assets(use_case: UseCase) -> list[dg.AssetsDefinition]:
    """Assets of the training stage."""
    models = [build_model(use_case, "champion"), build_model(use_case, "challenger")]
    return [build_retraining_request(use_case), build_training_frame(use_case), *models]
