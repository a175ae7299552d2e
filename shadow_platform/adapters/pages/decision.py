"""One decision of the gate as a page of HTML: what was decided, why, and everything it rests on.

Belongs here: how a decision looks. Does not belong here: what is shown (``domain.gates.exposition``), the pictures
(``adapters.pictures.gates``). Upstream: a decision, its sequence, its exposition. Downstream: reports below
``SHADOW_HOME``.

The page needs nothing from the net and no script; the same decision gives the same bytes.
"""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from jinja2 import Template

from shadow_platform.adapters.pages.rendering import data_uri, moment, number, page_template, percent, words
from shadow_platform.contracts.verdicts import Criterion, Decision, GateDecision, GateSequence, Outcome, Purpose

if TYPE_CHECKING:
    from shadow_platform.domain.gates.exposition import Exposition

NAMES = {
    "log_loss_gain": "Gain in log loss",
    "log_loss_harm": "Harm in log loss",
    "f1_improvement_pct": "Change of F1, percent",
    "brier_change": "Change of the Brier score",
    "challenger_error_rate": "Share of failed requests",
    "challenger_latency_p95_ms": "Latency, 95th percentile, ms",
    "shadow_coverage": "Share of requests compared",
    "coverage_bias": "Scores of what was not compared",
    "coverage_bias_segments": "Segments of what was not compared",
    "segments": "Segments not harmed",
    "onnx_parity": "Packaged model against trained one",
    "a_a_difference": "Champion against itself (A/A)",
    "training_knowledge": "Trained on what was known then",
}
VERDICTS = {
    (Purpose.CHALLENGE, Decision.PROMOTE): ("Promote", "pass"),
    (Purpose.CHALLENGE, Decision.WAIT): ("Wait", "insufficient"),
    (Purpose.CHALLENGE, Decision.REJECT): ("Reject", "fail"),
    (Purpose.WATCH, Decision.PROMOTE): ("Bring back", "fail"),
    (Purpose.WATCH, Decision.WAIT): ("Stay", "pass"),
    (Purpose.WATCH, Decision.REJECT): ("Stay", "pass"),
}
OUTCOMES = {Outcome.PASS: "met", Outcome.FAIL: "not met", Outcome.INSUFFICIENT: "not known yet"}


def decision_html(
    title: str, decision: GateDecision, sequence: GateSequence, shown: "Exposition", pictures: Mapping[str, bytes]
) -> bytes:
    """Page of a decision.

    Args:
        title: of the use case.
        pictures: PNG by name, of ``adapters.pictures.gates``.
    """
    page = _template().render(
        title=title,
        decision=decision,
        sequence=sequence,
        shown=shown,
        verdict=VERDICTS[decision.purpose, decision.decision],
        is_watch=decision.purpose is Purpose.WATCH,
        open_criteria=[c for c in decision.criteria if c.outcome is not Outcome.PASS],
        last=shown.path[-1] if shown.path else None,
        policy=json.loads(sequence.policy),
        pictures={name: data_uri(png) for name, png in pictures.items()},
    )
    return page.encode()


@lru_cache(maxsize=1)
def _template() -> Template:
    filters: dict[str, Callable[..., object]] = {
        "amount": lambda value: "–" if value is None else number(value),
        "count": lambda value: f"{value:,}",
        "criterion_name": lambda criterion: NAMES.get(criterion.name, words(criterion.name)),
        "figure": _figure,
        "moment": moment,
        "outcome_word": lambda outcome: OUTCOMES[outcome],
        "percent": lambda share: "–" if share is None else percent(share),
        "setting": _setting,
        "signed": lambda value: f"{value:+,.4g}",
    }
    return page_template("decision.html.jinja", filters)


def _figure(criterion: Criterion, name: str) -> str:
    """Value or limit of a criterion; whole numbers as such."""
    value = getattr(criterion, name)
    if value is None:
        return "–"
    return f"{int(value):,}" if float(value).is_integer() else number(value)


def _setting(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return number(value) if isinstance(value, float) else str(value)
