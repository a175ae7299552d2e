"""How models are trained, what they must reach, and when a trigger may start a training.

Upstream: nothing. Downstream: ``contracts.policies``.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from shadow_platform.contracts.errors import UseCaseError


@dataclass(frozen=True, slots=True)
class TrainingPolicy:
    """Time-ordered split that ends at the training's ``as_of``: fit, then calibration, then evaluation.

    Attributes:
        gap: distance between neighbouring parts, at least the label horizon, so that no label leaks forward.
        positive_weight: what a positive row weighs in fitting: ``balanced`` as much in sum as all negative ones,
            ``costs`` its ``DecisionCosts`` over theirs; ``None``: as much as a negative one. Calibration, on rows
            that weigh alike, gives honest probabilities again.
        early_stop_share: last share of the fit rows, in (0, 1), on which the number of iterations is chosen before the
            model is fitted on all of them; a search then leaves that number alone. ``None``: the family's own number.
        n_resamples: draws of days behind every interval of a metric, at least 1.
        confidence: of these intervals, in (0, 1).

    Raises:
        UseCaseError: a value outside its range.
    """

    window: timedelta = timedelta(days=60)
    calibration: timedelta = timedelta(days=7)
    evaluation: timedelta = timedelta(days=7)
    gap: timedelta = timedelta(days=1)
    min_rows: int = 1_000
    seed: int = 0
    positive_weight: Literal["balanced", "costs"] | None = None
    early_stop_share: float | None = None
    n_resamples: int = 200
    confidence: float = 0.95

    def __post_init__(self) -> None:
        share = self.early_stop_share
        for name, holds, expected in (
            ("positive_weight", self.positive_weight in ("balanced", "costs", None), "'balanced', 'costs' or None"),
            ("early_stop_share", share is None or 0 < share < 1, "a share above 0 and below 1, or None"),
            ("n_resamples", self.n_resamples >= 1, "at least 1"),
            ("confidence", 0 < self.confidence < 1, "a probability above 0 and below 1"),
        ):
            if not holds:
                raise UseCaseError(
                    f"TrainingPolicy has {name}={getattr(self, name)!r}; expected {expected}; correct the declaration"
                )


@dataclass(frozen=True, slots=True)
class QualityPolicy:
    """What a trained model must reach on its evaluation window to become a version; ``None`` leaves a limit out.

    Attributes:
        min_roc_auc: ROC-AUC that its interval must not lie wholly below.
        min_log_loss_gain: nats a row by which it must beat the constant base rate; its interval must not lie wholly
            below.
        max_calibration_error: expected calibration error that its interval must not lie wholly above.
    """

    min_roc_auc: float | None = 0.55
    min_log_loss_gain: float | None = 0.0
    max_calibration_error: float | None = 0.10


@dataclass(frozen=True, slots=True)
class RetrainPolicy:
    """When a trigger may start a training.

    Attributes:
        cooldown: between the starts of two trainings, whatever asked for them.
        min_new_labels: labels that must have become known since the last training.
        max_per_week: trainings of any seven days, whatever asked for them, at least 1; ``None``: unbounded.
        patience: so long, behind the horizon of its labels, the challenger that shadows for longest keeps its place
            when newer models come.

    Raises:
        UseCaseError: a value outside its range.
    """

    cooldown: timedelta = timedelta(hours=6)
    min_new_labels: int = 500
    max_per_week: int | None = 14
    patience: timedelta = timedelta(weeks=8)

    def __post_init__(self) -> None:
        if self.max_per_week is not None and self.max_per_week < 1:
            raise UseCaseError(
                f"RetrainPolicy has max_per_week={self.max_per_week}; expected at least 1, or None for no bound; "
                "switch the sensors off where nothing is to be retrained"
            )
        if self.patience < timedelta(0):
            raise UseCaseError(
                f"RetrainPolicy has patience={self.patience}; expected none (timedelta(0)), so that the oldest "
                "challenger leaves when newer models come, or more"
            )
