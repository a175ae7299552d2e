"""How much of the evidence is in, and how much is still pending.

Upstream: the champion's answers, the matured cohort. Downstream: ``GateDecision.maturity``.
"""

from datetime import UTC, datetime

import pandas as pd

from shadow_platform.contracts.verdicts import Maturity


def maturity_of(answers: pd.DataFrame, cohort: pd.DataFrame, as_of: datetime) -> Maturity:
    """Counts of the champion's answers by what is known of their labels.

    Args:
        answers: the champion's answers since the sequence's ``evidence_from``, with ``requested_at``; those later than
            ``as_of`` do not count.
        cohort: the matured ones among them, as in ``GateInputs``.
    """
    n_requests, n_matured = int((answers["requested_at"] <= as_of).sum()), len(cohort)
    until = cohort["requested_at"].max().to_pydatetime().astimezone(UTC) if n_matured else None
    return Maturity(
        n_requests=n_requests,
        n_pending=n_requests - n_matured,
        n_matured=n_matured,
        n_labelled=int(cohort["label"].notna().sum()),
        n_hidden=int(cohort["is_hidden"].sum()),
        matured_until=until,
    )
