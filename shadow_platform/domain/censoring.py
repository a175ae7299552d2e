"""Censoring stage: which outcomes a decision hid, and how likely each request was to show its own.

Belongs here: telling a hidden label from one that is seen. Does not belong here: what is estimated from the rest
(domain.estimation, domain.gates, domain.fairness). Upstream: cohorts of domain.labels. Downstream:
``performance_daily``, ``gate_decision``, ``fairness_groups``.

A label is hidden by the decision of the model that answered, so its propensity belongs to the request: a challenger is
judged with the same one.
"""

import pandas as pd

from shadow_platform.contracts.use_case import HiddenBy

# Up to this share of the labels that should be seen may be lost by accident; more are withheld by somebody's decision.
# Negative and explored requests are held against it apart: few explored ones stand for many; their loss would drown.
MAX_LOST_SHARE = 0.01


def censor(matured: pd.DataFrame, hidden_by: HiddenBy | None) -> pd.DataFrame:
    """The matured cohort, with what was hidden told from what was seen.

    Where the platform's own decisions hide labels, every other matured request has one. When more than
    ``MAX_LOST_SHARE`` of these have none, somebody else hid them with a chance that is not known: their propensity is
    zero. When it is explored requests that lost theirs, exploration tells of no positive decision any more, and the
    propensity of all of them is zero. Where others hide labels, that holds for every request without one.

    Args:
        matured: matured requests with ``label, prediction, is_explored, label_propensity`` of the answer given; nulls
            in the last two (written before they existed) count as not explored and as 1.
        hidden_by: as in ``LabelPolicy.hidden_by``.

    Returns:
        The cohort with ``is_prevented`` (hidden by the decision that was answered), ``is_hidden``, ``label`` null where
        it is hidden, and ``label_propensity`` in [0, 1], which is 1 everywhere where decisions hide nothing.
    """
    if hidden_by is None:
        return matured.assign(is_prevented=False, is_hidden=False, label_propensity=1.0)
    if hidden_by == "others":
        is_withheld = matured["label"].isna()
        propensity = (~is_withheld).astype(float)
        return matured.assign(is_prevented=False, is_hidden=is_withheld, label_propensity=propensity)
    is_explored = matured["is_explored"].astype("boolean").fillna(False).astype(bool)
    propensity = matured["label_propensity"].astype(float).fillna(1.0)
    is_prevented = matured["prediction"].astype(bool) & ~is_explored
    is_lost = ~is_prevented & matured["label"].isna()
    withheld_explored = _beyond_accident(is_lost, is_explored)
    withheld_negative = _beyond_accident(is_lost, ~is_prevented & ~is_explored)
    is_misled = (is_prevented | is_explored) & bool(withheld_explored.any())
    is_unknowable = withheld_negative | is_misled | (is_prevented & propensity.eq(1.0))
    is_hidden = is_prevented | withheld_explored | withheld_negative
    return matured.assign(
        label=matured["label"].astype("boolean").mask(is_hidden),
        label_propensity=propensity.mask(is_unknowable, 0.0),
        is_prevented=is_prevented,
        is_hidden=is_hidden,
    )


def _beyond_accident(is_lost: "pd.Series[bool]", of: "pd.Series[bool]") -> "pd.Series[bool]":
    """Lost labels of a part of the requests, when they are too many for an accident; else none."""
    lost = is_lost & of
    return lost & bool(lost.sum() > MAX_LOST_SHARE * of.sum())
