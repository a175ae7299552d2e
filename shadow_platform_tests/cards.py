"""A small model card that has something in every part.

Belongs here: what tests of the card, the bundle and the registry share. Does not belong here: assertions.
"""

from datetime import timedelta
from typing import Any

from shadow_platform.contracts.bundle import Calibration
from shadow_platform.contracts.model_card import (
    FeatureImportance,
    FeatureSummary,
    MetricEstimate,
    ModelCard,
    PartSummary,
    SegmentMetrics,
)
from shadow_platform.contracts.policies import DecisionCosts
from shadow_platform.contracts.verdicts import Criterion, Outcome, ParityReport
from shadow_platform_tests.trained import AS_OF, CHANNELS

AUC = MetricEstimate(value=0.71234, low=0.69, high=0.735)

START, WEEK = AS_OF - timedelta(days=40), timedelta(days=7)
PARTS = tuple(
    PartSummary(name=name, start=START + place * WEEK, end=START + (place + 1) * WEEK, n=1_000, n_positive=310)
    for place, name in enumerate(("fit", "calibration", "evaluation"))
)
FEATURES = (
    FeatureSummary(
        name="amount",
        description="Amount",
        kind="numeric",
        unit="EUR",
        view="things",
        monotone="increasing",
        null_rate=0.0213,
        imputed=50.0,
        n_levels=None,
    ),
    FeatureSummary(
        name="channel",
        description="Channel",
        kind="categorical",
        unit="",
        view=None,
        monotone=None,
        null_rate=0.0,
        imputed=None,
        n_levels=len(CHANNELS),
    ),
)
SEGMENTS = (
    SegmentMetrics(
        feature=None,
        level=None,
        n=1_000,
        n_positive=310,
        metrics={"roc_auc": AUC, "log_loss": MetricEstimate(value=0.5, low=None, high=None)},
    ),
    SegmentMetrics(feature="channel", level="mail", n=300, n_positive=0, metrics={}),
    SegmentMetrics(feature="channel", level="shop", n=700, n_positive=310, metrics={"roc_auc": AUC}),
)
IMPORTANCES = (
    FeatureImportance(feature="amount", log_loss_increase=MetricEstimate(value=0.04, low=0.03, high=0.05)),
    FeatureImportance(feature="channel", log_loss_increase=MetricEstimate(value=-0.001, low=-0.01, high=0.008)),
)
QUALITY = (
    Criterion(name="roc_auc", outcome=Outcome.PASS, value=0.712, limit=0.55, n=1_000, reason="good enough"),
    Criterion(name="calibration_error", outcome=Outcome.INSUFFICIENT, value=None, limit=0.1, n=0, reason="too few"),
)


def make_card(**changes: Any) -> ModelCard:
    """Card of the model of ``make_manifest``."""
    values: dict[str, Any] = {
        "use_case": "tiny",
        "title": "Tiny things",
        "description": "Will it happen?",
        "owner": "team:tiny",
        "intended_use": "To try the platform. Not for people.",
        "limits": ("It is made up.", "It knows forty days."),
        "label": "happened",
        "label_description": "It happened within a day",
        "label_horizon_s": 86_400.0,
        "model_name": "line",
        "model_description": "A line",
        "parameters": {"penalty_c": 0.1, "is_scaled": True},
        "seed": 7,
        "threshold": 0.25,
        "costs": DecisionCosts(false_positive=10.0, false_negative=30.0, currency="EUR"),
        "calibration": Calibration(slope=1.1, intercept=-0.1),
        "trained_as_of": AS_OF,
        "parts": PARTS,
        "features": FEATURES,
        "segments": SEGMENTS,
        "importances": IMPORTANCES,
        "quality": QUALITY,
        "parity": ParityReport(
            n=1_000, max_abs_diff=3.1e-7, share_within_1e5=1.0, flipped_decisions=0, outcome=Outcome.PASS
        ),
        "fingerprints": {"data": "d" * 64, "code": "c" * 64},
    }
    return ModelCard(**{**values, **changes})
