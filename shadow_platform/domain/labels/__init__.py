"""Labels stage: which ground truth counts at a time T, for which predictions, and which imported rows are taken.

``answered`` matches recorded requests with answered ones, ``known`` says what was believed at a time, ``cohorts`` puts
it beside predictions and challengers, ``incoming`` sorts the rows of an imported file. Does not belong here: computing
labels (the use case's SQL), judging models (domain.estimation, domain.gates). Upstream: rows of ``labels``,
``predictions``, ``shadow_comparisons``, label files. Downstream: ``labels``, ``training_frame``, ``performance_daily``,
``gate_decision``.
"""

from shadow_platform.domain.labels.answered import hidden_among, requests_to_label, without_label
from shadow_platform.domain.labels.cohorts import matured_cohort, pair, settled
from shadow_platform.domain.labels.incoming import ImportTerms, SortedLabels, sort_incoming
from shadow_platform.domain.labels.known import LABEL_KEY, CombinedLabels, combine, known_on, latest_labels

__all__ = [
    "LABEL_KEY",
    "CombinedLabels",
    "ImportTerms",
    "SortedLabels",
    "combine",
    "hidden_among",
    "known_on",
    "latest_labels",
    "matured_cohort",
    "pair",
    "requests_to_label",
    "settled",
    "sort_incoming",
    "without_label",
]
