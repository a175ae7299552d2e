"""Whether a model moves only in the declared direction with each monotone feature.

Belongs here: the measurement on evaluation rows, for families of any kind: trees obey while they are fitted, a linear
model follows its data. Does not belong here: what happens to a model that does not (quality). Upstream: evaluation
rows, a scoring function. Downstream: the model card, registration.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from shadow_platform.contracts.use_case import Feature
from shadow_platform.contracts.verdicts import Criterion, Outcome

MAX_ROWS = 2_000
DECILES = np.linspace(0.0, 1.0, 11)
# Float32 answers of one probability differ by less.
RESOLUTION = 1e-6

Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


def monotonicity(
    features: Sequence[Feature], matrix: Matrix, score: Callable[[Matrix], Floats]
) -> tuple[Criterion, ...]:
    """One criterion ``monotone_<feature>`` a declared direction: the share of rows that move the wrong way is 0.

    Args:
        matrix: evaluation rows, one column a feature; of more than ``MAX_ROWS`` every so manieth is taken.
        score: probabilities of such rows.
    """
    rows = matrix[np.linspace(0, len(matrix) - 1, min(len(matrix), MAX_ROWS)).astype(int)]
    return tuple(
        _criterion(feature, rows, place, np.unique(np.quantile(matrix[:, place], DECILES, method="lower")), score)
        for place, feature in enumerate(features)
        if feature.monotone is not None and len(matrix)
    )


def _criterion(
    feature: Feature, rows: Matrix, place: int, steps: Matrix, score: Callable[[Matrix], Floats]
) -> Criterion:
    name = f"monotone_{feature.name}"
    if len(steps) < 2:
        reason = f"{feature.name} is {steps[0]:g} in every row; a direction shows between two values"
        return Criterion(
            name=name, outcome=Outcome.INSUFFICIENT, value=None, limit=0.0, n=len(rows), is_hard=True, reason=reason
        )
    sign = 1.0 if feature.monotone == "increasing" else -1.0
    answers = np.empty((len(steps), len(rows)))
    for step, value in enumerate(steps):
        moved = rows.copy()
        moved[:, place] = value
        answers[step] = sign * score(moved)
    share = float(np.mean((np.diff(answers, axis=0) < -RESOLUTION).any(axis=0)))
    reason = (
        f"probability is declared {feature.monotone} in {feature.name}; moved over {len(steps)} values from "
        f"{steps[0]:g} to {steps[-1]:g}, it goes the other way for {share:.1%} of {len(rows)} rows"
    )
    return Criterion(
        name=name,
        outcome=Outcome.PASS if share == 0.0 else Outcome.FAIL,
        value=share,
        limit=0.0,
        n=len(rows),
        is_hard=True,
        reason=reason,
    )
