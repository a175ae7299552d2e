"""What is told of a trained model: how good it is, for whom, how far to trust it, and what it was made of.

Upstream: training. Downstream: the bundle (``card.json`` and, for people, ``card.html``), MLflow, tables, comparison of
versions.
"""

from datetime import datetime

from shadow_platform.contracts.bundle import Calibration
from shadow_platform.contracts.models import Parameter
from shadow_platform.contracts.policies import DecisionCosts
from shadow_platform.contracts.verdicts import Criterion, Frozen, ParityReport


class MetricEstimate(Frozen):
    """A metric with its interval; ``low`` and ``high`` are ``None`` where the days are too few to tell."""

    value: float
    low: float | None
    high: float | None


class SegmentMetrics(Frozen):
    """Metrics of one group of evaluation rows.

    Attributes:
        feature, level: the group; both ``None`` for all rows.
        metrics: by name; a metric that the group does not identify (ROC-AUC of one class) is left out.
    """

    feature: str | None
    level: str | None
    n: int
    n_positive: int
    metrics: dict[str, MetricEstimate]


class FeatureImportance(Frozen):
    """Log loss that the model loses on the evaluation rows when a feature's values are shuffled (Breiman 2001)."""

    feature: str
    log_loss_increase: MetricEstimate


class FeatureSummary(Frozen):
    """One input of the model, as it was in the fit window."""

    name: str
    description: str
    kind: str
    unit: str
    view: str | None
    derivation: str | None = None
    monotone: str | None
    null_rate: float
    imputed: float | None
    n_levels: int | None


class PartSummary(Frozen):
    """One window of the training: fit, calibration or evaluation."""

    name: str
    start: datetime
    end: datetime
    n: int
    n_positive: int


class ModelCard(Frozen):
    """Contents of ``card.json`` (Mitchell et al. 2019, Model Cards for Model Reporting).

    Attributes:
        segments: the first is all rows.
        costs: what wrong decisions cost, if the threshold follows from them.
        quality: every limit a version must keep, and how the model did.
        importances: largest first.
    """

    use_case: str
    title: str
    description: str
    owner: str
    intended_use: str
    limits: tuple[str, ...]
    label: str
    label_description: str
    label_horizon_s: float
    model_name: str
    model_description: str
    parameters: dict[str, Parameter]
    seed: int
    threshold: float
    costs: DecisionCosts | None = None
    calibration: Calibration
    trained_as_of: datetime
    parts: tuple[PartSummary, ...]
    features: tuple[FeatureSummary, ...]
    segments: tuple[SegmentMetrics, ...]
    importances: tuple[FeatureImportance, ...]
    quality: tuple[Criterion, ...]
    parity: ParityReport
    fingerprints: dict[str, str]
