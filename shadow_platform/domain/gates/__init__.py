"""Gates stage: whether a challenger may replace the champion, from what is known at one time.

Belongs here: every criterion of promotion and the decision they give. Does not belong here: choosing the rows
(domain.labels), acting on the decision (domain.promotion). ``sequence`` and ``betting`` hold the statistics,
``families`` the error they may spend, ``quality``, ``segments``, ``operation`` and ``coverage`` the criteria,
``decision`` the verdict, ``exposition`` what a reader is shown of it. Upstream: a paired, matured cohort and the facts
of both bundles. Downstream: ``gate_sequences``, ``gate_decisions``, the decision's page, promotion.

The comparison is anytime-valid: it may be looked at daily without promoting by luck, and so may any number of
challengers. A criterion without enough evidence is ``insufficient`` and keeps the challenger waiting.
"""

from shadow_platform.domain.gates.decision import GateInputs, decide
from shadow_platform.domain.gates.exposition import Exposition, expose
from shadow_platform.domain.gates.families import alpha_of, open_sequence, policy_text
from shadow_platform.domain.gates.maturity import maturity_of
from shadow_platform.domain.gates.quality import evidence, judged_pairs

__all__ = [
    "Exposition",
    "GateInputs",
    "alpha_of",
    "decide",
    "evidence",
    "expose",
    "judged_pairs",
    "maturity_of",
    "open_sequence",
    "policy_text",
]
