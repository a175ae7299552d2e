"""Policies of a use case: named, typed limits with documented defaults, by which the platform decides.

Belongs here: numbers a use case may choose. Does not belong here: how they are applied (domain). Upstream:
``contracts.use_case`` offers them beside everything else a use case declares. Downstream: domain.
"""

from shadow_platform.contracts.policies.decisions import (
    DecisionCosts,
    Exploration,
    FairnessAttribute,
    FairnessPolicy,
    GatePolicy,
)
from shadow_platform.contracts.policies.monitoring import (
    DataQualityPolicy,
    DriftPolicy,
    PerformancePolicy,
    ReferencePolicy,
    Threshold,
)
from shadow_platform.contracts.policies.rollout import CanaryStep, RolloutPolicy
from shadow_platform.contracts.policies.training import QualityPolicy, RetrainPolicy, TrainingPolicy

__all__ = [
    "CanaryStep",
    "DataQualityPolicy",
    "DecisionCosts",
    "DriftPolicy",
    "Exploration",
    "FairnessAttribute",
    "FairnessPolicy",
    "GatePolicy",
    "PerformancePolicy",
    "QualityPolicy",
    "ReferencePolicy",
    "RetrainPolicy",
    "RolloutPolicy",
    "Threshold",
    "TrainingPolicy",
]
