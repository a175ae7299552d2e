"""One window judged: rows or counts, the policy's reference, and where a shift of the scores comes from.

Belongs here: choosing what is compared with what. Does not belong here: the rules (domain.drift), tables
(``recording``). Upstream: ``served``. Downstream: ``verdict``.
"""

from collections.abc import Sequence
from datetime import datetime

import dagster as dg
import pandas as pd

from shadow_platform.assets.drift.served import Served
from shadow_platform.contracts.errors import BundleError
from shadow_platform.contracts.monitoring_verdicts import DriftReference, DriftVerdict, ScoreShift
from shadow_platform.contracts.use_case import DriftPolicy
from shadow_platform.domain.drift.attribution import score_shift
from shadow_platform.domain.drift.inputs import canonical
from shadow_platform.domain.drift.profiles import empty_profiles
from shadow_platform.domain.drift.references import (
    Span,
    gaps,
    looked_at_since,
    reference_spans,
    why_missing,
    window_by_time,
)
from shadow_platform.domain.drift.verdict import evaluate_drift, evaluate_profiles

SHIFT_ROWS = 20_000
SEED = 0


def judge(served: Served, end: datetime, policy: DriftPolicy) -> DriftVerdict:
    """Verdict on the window that ends with ``end``.

    Its explanation names days without a partition: they fail nothing, since no request may have been made on a day.
    """
    window = served.span(end, policy)
    if window is None:
        reason = f"all requests before {end:%Y-%m-%d %H:%M} UTC are fewer than the {policy.window_rows:,} of a window"
        return _undecided(served, window_by_time(policy, end), policy, reason)
    spans = reference_spans(policy.reference, window)
    known = served.first_known(looked_at_since(spans)) if spans else None
    missing = why_missing({span: served.n_rows(span) for span in spans}, known)
    if missing:
        return _undecided(served, window, policy, missing)
    verdict = _compared(served, window, spans, policy)
    unmade = gaps(window, spans, served.made)
    return verdict.model_copy(update={"explanation": f"{verdict.explanation}\n- {unmade}"}) if unmade else verdict


def _compared(served: Served, window: Span, spans: Sequence[Span], policy: DriftPolicy) -> DriftVerdict:
    """Verdict on a window and a reference that are there.

    Value by value where window and frozen reference are small, else, and against requests served before, by counts in
    the cells of the frozen reference.
    """
    is_exact = not spans and max(served.n_rows(window), len(served.reference)) <= policy.exact_rows
    origin = _origin(served, policy, spans)
    asked = served.use_case.name, served.use_case.features
    if is_exact:
        current = served.rows([window], policy.exact_rows)
        shift = _shift(served, served.reference, current, policy)
        return evaluate_drift(*asked, served.reference, current, policy, window.start, window.end, origin, shift)
    before = served.rows(spans, SHIFT_ROWS) if spans else served.reference
    shift = _shift(served, before, served.rows([window], SHIFT_ROWS), policy)
    counted = served.profiles(spans) if spans else served.reference_profiles
    current_counts = served.profiles([window])
    return evaluate_profiles(*asked, counted, current_counts, policy, window.start, window.end, origin, shift)


def _origin(served: Served, policy: DriftPolicy, spans: Sequence[Span]) -> DriftReference:
    return DriftReference(
        kind=policy.reference.kind,
        fingerprint=served.bundle_hash,
        start=spans[0].start if spans else None,
        end=spans[-1].end if spans else None,
    )


def _undecided(served: Served, window: Span, policy: DriftPolicy, reason: str) -> DriftVerdict:
    """An insufficient verdict whose words say why."""
    nothing = empty_profiles(served.grid)
    origin = _origin(served, policy, reference_spans(policy.reference, window))
    verdict = evaluate_profiles(
        served.use_case.name,
        served.use_case.features,
        nothing,
        nothing,
        policy,
        window.start,
        window.end,
        origin,
    )
    return verdict.model_copy(update={"headline": f"Not judged: {reason}", "explanation": f"Not judged: {reason}."})


def _shift(served: Served, reference: pd.DataFrame, current: pd.DataFrame, policy: DriftPolicy) -> ScoreShift | None:
    """Where a shift of the mean score comes from; ``None`` when the champion scored too few rows, or cannot."""
    features = served.use_case.features
    ordered = [canonical(frame, features).frame for frame in (reference, current)]
    if any("score" not in frame.columns for frame in ordered):
        return None
    reference, current = (frame[frame["score"].notna()] for frame in ordered)
    if min(len(reference), len(current)) < max(policy.min_rows, 2):
        return None
    try:
        before, after = (served.bundle.encode_frame(frame)[0] for frame in (reference, current))
    except BundleError as error:
        dg.get_dagster_logger().warning("the shift of the scores is not split: %s", error)
        return None
    names = [column.name for column in served.bundle.manifest.inputs]
    predict = served.bundle.predict
    return score_shift(predict, before, after, before, names, reference, current, features, policy, SEED)
