"""No named segment may be harmed, rare levels are judged together, and nothing is passed untested."""

import numpy as np

from shadow_platform.contracts.use_case import GatePolicy
from shadow_platform.contracts.verdicts import (
    Criterion,
    Outcome,
)
from shadow_platform.domain.gates import decide
from shadow_platform.domain.gates.segments import holm
from shadow_platform_tests.domain.gates.deciding import better, criterion, inputs


def test_a_harmed_segment_blocks_a_better_challenger() -> None:
    cohort = better(8_000)
    harmed = cohort.index[cohort["segment"].eq("a")][:600]
    cohort["segment"] = "b"
    cohort.loc[harmed, "segment"] = "small"
    wrong = np.where(cohort.loc[harmed, "label"], 0.1, 0.9)
    cohort.loc[harmed[::4], "challenger_probability"] = wrong[::4]

    found = criterion(decide(inputs(cohort, GatePolicy(segments=("segment",)))), "segments")

    assert found.outcome is Outcome.FAIL
    assert found.reason.startswith("harmed: segment=small +0.")


def of_levels(*levels: str) -> Criterion:
    """The criterion on segments of a better challenger whose first requests are of the levels named, the rest of b."""
    cohort = better()
    cohort["segment"] = [*levels, *["b"] * (len(cohort) - len(levels))]
    return criterion(decide(inputs(cohort, GatePolicy(segments=("segment",)))), "segments")


def test_levels_too_rare_to_be_judged_are_named_with_their_share() -> None:
    found = of_levels(*["rare"] * 100, *["rarer"] * 60)

    assert found.outcome is Outcome.PASS
    assert found.reason.endswith("; too rare to be judged alone in segment: rare, rarer, 4.0 % of the pairs")


def test_nothing_is_concluded_of_segments_while_many_pairs_are_in_rare_levels() -> None:
    found = of_levels(*[f"r{i % 20:02d}" for i in range(2_000)])

    assert found.outcome is Outcome.INSUFFICIENT
    assert "too rare to be judged alone in segment: r00, r01, " in found.reason
    assert found.reason.endswith("r09 and 10 more, 50.0 % of the pairs")


def test_harm_in_many_rare_levels_is_found_in_all_of_them_together() -> None:
    cohort = better()
    cohort["segment"] = [*[f"r{i % 6}" for i in range(600)], *["b"] * 3_400]
    wrong = np.where(cohort["label"][:600], 0.1, 0.9)
    cohort.loc[cohort.index[:600:4], "challenger_probability"] = wrong[::4]

    found = criterion(decide(inputs(cohort, GatePolicy(segments=("segment",)))), "segments")

    assert found.outcome is Outcome.FAIL
    assert found.reason.startswith("harmed: segment=(rare levels) +0.")


def test_segments_without_harm_pass() -> None:
    found = criterion(decide(inputs(better(), GatePolicy(segments=("segment",)))), "segments")

    assert found.outcome is Outcome.PASS


def test_holm_rejects_from_the_smallest_on_and_stops() -> None:
    p_values = np.array([0.001, 0.5, 0.012, 0.03, 0.0001])

    assert holm(p_values, 0.05).tolist() == [True, False, True, False, True]
