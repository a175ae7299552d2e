"""Whether the exported model answers as the fitted one does.

Upstream: answers of both on the evaluation window. Downstream: the parity check, the bundle.
"""

import numpy as np
import numpy.typing as npt

from shadow_platform.contracts.verdicts import Outcome, ParityReport

PARITY_TOLERANCE = 1e-5
PARITY_SHARE = 0.9999
PARITY_LIMIT = 1e-3

Floats = npt.NDArray[np.float64]


def parity(expected: Floats, answered: Floats, threshold: float) -> ParityReport:
    """Whether the exported model answers as scikit-learn does, on calibrated probabilities of the same rows.

    Passes when 99.99 % of the rows agree within 1e-5, none differs by more than 1e-3, and no decision flips.
    """
    if len(expected) == 0:
        return ParityReport(
            n=0, max_abs_diff=0.0, share_within_1e5=0.0, flipped_decisions=0, outcome=Outcome.INSUFFICIENT
        )
    distance = np.where(np.isfinite(answered), np.abs(expected - answered), np.inf)
    within = float(np.mean(distance <= PARITY_TOLERANCE))
    largest = float(distance.max())
    flipped = int(((expected >= threshold) != (answered >= threshold)).sum())
    passes = within >= PARITY_SHARE and largest <= PARITY_LIMIT and flipped == 0
    return ParityReport(
        n=len(expected),
        max_abs_diff=largest,
        share_within_1e5=within,
        flipped_decisions=flipped,
        outcome=Outcome.PASS if passes else Outcome.FAIL,
    )
