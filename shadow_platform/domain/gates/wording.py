"""A decision in plain words: what was decided, on what, how sure that is, and what is missing.

Upstream: the inputs and the decision. Downstream: the decision's page, alerts.
"""

from shadow_platform.contracts.verdicts import Criterion, Decision, GateDecision, Outcome, Purpose
from shadow_platform.domain.gates.decision import GateInputs
from shadow_platform.domain.gates.quality import judged_pairs
from shadow_platform.domain.gates.sequence import log_losses

WORDS = {
    "matured_labels": "enough known outcomes",
    "label_coverage": "the outcomes of nearly all requests",
    "log_loss_gain": "proof that its answers are better",
    "log_loss_harm": "that its answers are not worse",
    "f1_improvement_pct": "better decisions (F1)",
    "brier_change": "probabilities as sharp as the champion's (Brier score)",
    "calibration_error": "probabilities that come true as often as they say",
    "challenger_error_rate": "that it hardly ever fails",
    "challenger_latency_p95_ms": "that it is fast enough",
    "shadow_coverage": "that it answered nearly every request in the shadow",
    "coverage_bias": "that what it did not answer is like what it answered, in score",
    "coverage_bias_segments": "that what it did not answer is like what it answered, in segments",
    "segments": "that no segment is harmed",
    "onnx_parity": "that the packaged model answers as the trained one",
    "a_a_difference": "that the champion's own shadow gives the champion's answers",
    "training_knowledge": "that it was trained on nothing that became known later",
}


def explain(inputs: GateInputs, decision: GateDecision) -> tuple[str, ...]:
    """Two to four sentences that need no statistics to be understood."""
    return tuple(filter(None, (_headline(decision), _evidence(inputs), _lacking(decision), _pending(inputs))))


def _headline(decision: GateDecision) -> str:
    old, new = decision.champion_version, decision.challenger_version
    if decision.purpose is Purpose.WATCH:
        if decision.decision is Decision.PROMOTE:
            return f"Version {new}, which served before, is better than champion {old} and should be brought back."
        return f"There is no reason to bring version {new} back: it is not shown to be better than champion {old}."
    if decision.decision is Decision.PROMOTE:
        return f"Challenger {new} should replace champion {old}: it is shown to be better, and every other test passed."
    if decision.decision is Decision.REJECT:
        return f"Challenger {new} must not replace champion {old}."
    return f"Champion {old} stays for now: it is not decided whether challenger {new} should replace it."


def _evidence(inputs: GateInputs) -> str:
    pairs = judged_pairs(inputs.cohort)
    n = int((pairs["weight"] > 0).sum())
    if n == 0:
        return "No outcome of a request that both have answered is known yet."
    champion, challenger = log_losses(pairs)
    change = 100 * (champion.sum() - challenger.sum()) / champion.sum() if champion.sum() else 0.0
    days = pairs["requested_at"].dt.floor("D").nunique()
    better = "better" if change >= 0 else "worse"
    risk = f"{100 * inputs.policy.alpha:.3g} %"
    return (
        f"On {n:,} requests of {days} days whose outcome is known, the log loss of its answers was "
        f"{abs(change):.2g} % {better}; were no challenger any better, the chance that one is ever said to be, over "
        f"all looks and all challengers of this champion, would be {risk} at most."
    )


def _lacking(decision: GateDecision) -> str:
    failed = [_named(c) for c in decision.criteria if c.outcome is Outcome.FAIL]
    unknown = [_named(c) for c in decision.criteria if c.outcome is Outcome.INSUFFICIENT]
    said = []
    if failed:
        said.append(f"Not met: {', '.join(failed)}.")
    if unknown:
        said.append(f"Not known yet: {', '.join(unknown)}.")
    return " ".join(said)


def _named(criterion: Criterion) -> str:
    return WORDS.get(criterion.name, criterion.name)


def _pending(inputs: GateInputs) -> str:
    maturity = inputs.maturity
    if not maturity.n_pending:
        return ""
    return (
        f"{maturity.n_pending:,} of {maturity.n_requests:,} answered requests "
        f"({100 * maturity.pending_share:.0f} %) still wait for their outcome and do not count."
    )
