"""Inputs of a gate whose facts all speak for the challenger, so that a test changes one of them.

Belongs here: what the tests of the gate share. Upstream: simulated streams. Downstream: tests of domain.gates.
"""

from datetime import UTC, datetime

import numpy as np
import pandas as pd

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import (
    AAFacts,
    Criterion,
    GateDecision,
    Outcome,
    Purpose,
    TrainingKnowledge,
)
from shadow_platform.domain.gates import GateInputs, maturity_of, open_sequence
from shadow_platform_tests.cohorts import START, paired_cohort
from shadow_platform_tests.streams import FOUR_PERCENT, Stream, better_challenger

AS_OF = datetime(2013, 5, 1, tzinfo=UTC)


A_A = AAFacts(
    run_id="run",
    n=1_000,
    n_differing=0,
    max_difference=0.0,
    limit=1e-5,
    outcome=Outcome.PASS,
    is_explained=False,
    ran_at=AS_OF,
)
KNOWLEDGE = TrainingKnowledge(trained_as_of=AS_OF, n_rows=900, n_leaked=0, detail="all 900 labels were known")


def inputs(
    cohort: pd.DataFrame, policy: GatePolicy | None = None, purpose: Purpose = Purpose.CHALLENGE, challenger: str = "2"
) -> GateInputs:
    """Inputs whose every fact besides the cohort speaks for the challenger, which is the first of its family."""
    sequence = open_sequence(
        use_case="tiny",
        purpose=purpose,
        champion=("1", "c"),
        challenger=(challenger, "d"),
        policy=policy or GatePolicy(),
        evidence_from=START,
        known=(),
        now=AS_OF,
    )
    return GateInputs(
        sequence=sequence,
        as_of=AS_OF,
        policy=policy or GatePolicy(),
        answered=cohort,
        cohort=cohort,
        maturity=maturity_of(cohort, cohort, AS_OF),
        parity=Outcome.PASS,
        parity_n=1_000,
        a_a=A_A,
        knowledge=KNOWLEDGE,
        fingerprints={"champion": "c", "challenger": "d"},
    )


def better(n: int = 4_000, seed: int = 0) -> pd.DataFrame:
    return paired_cohort(better_challenger(np.random.default_rng(seed), 1, n, FOUR_PERCENT))


def worse(n: int = 4_000) -> pd.DataFrame:
    stream = better_challenger(np.random.default_rng(0), 1, n, FOUR_PERCENT)
    return paired_cohort(Stream(stream.label, stream.challenger, stream.champion))


def criterion(decision: GateDecision, name: str) -> Criterion:
    return next(c for c in decision.criteria if c.name == name)
