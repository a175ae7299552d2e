"""Gates stage: whether a challenger may replace the champion, from what is known at one time.

Belongs here: every criterion of promotion and the decision they give. Does not belong here: choosing the rows
(domain.labels), acting on the decision (domain.promotion). ``sequence`` holds the statistics, ``quality`` and
``operation`` the criteria, ``decision`` the verdict. Upstream: a paired, matured cohort and the facts of both bundles.
Downstream: ``gate_decisions``, promotion.

The comparison is anytime-valid: it may be looked at daily without promoting by luck. A criterion without enough
evidence is ``insufficient`` and keeps the challenger waiting.
"""

from shadow_platform.domain.gates.decision import GateInputs, decide
from shadow_platform.domain.gates.quality import evidence, judged_pairs

__all__ = ["GateInputs", "decide", "evidence", "judged_pairs"]
