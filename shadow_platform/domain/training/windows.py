"""Which rows of a frame teach, calibrate and judge a model: windows in time order with a gap between neighbours.

Upstream: the training policy. Downstream: fitting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from shadow_platform.contracts.errors import NotEnoughData, UseCaseError
from shadow_platform.contracts.use_case import TrainingPolicy

FIT, CALIBRATION, EVALUATION = "fit", "calibration", "evaluation"
PARTS = (FIT, CALIBRATION, EVALUATION)
HIDDEN = "hidden"  # in a part's window, without a label: it teaches nothing, but its like will ask again
MIN_ROWS_OF_A_PART = 100

Labels = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open interval ``[start, end)`` of request time."""

    start: datetime
    end: datetime

    def holds(self, times: pd.Series) -> Labels:
        """Which times lie in the window."""
        result: Labels = ((times >= self.start) & (times < self.end)).to_numpy(dtype=bool)
        return result


@dataclass(frozen=True, slots=True)
class Windows:
    """The three parts of a training, in time order, and the gap between neighbours."""

    fit: Window
    calibration: Window
    evaluation: Window
    gap: timedelta


def windows(policy: TrainingPolicy, horizon: timedelta, as_of: datetime) -> Windows:
    """Windows of a training that knows what was known at ``as_of``.

    The evaluation ends one label horizon before ``as_of``: later requests have a label only if it came early, and
    early labels are not like late ones. Between neighbours lies the policy's gap, or the horizon if that is longer.
    """
    gap = max(policy.gap, horizon)
    evaluation_end = as_of - horizon
    evaluation = Window(evaluation_end - policy.evaluation, evaluation_end)
    calibration_end = evaluation.start - gap
    calibration = Window(calibration_end - policy.calibration, calibration_end)
    fit = Window(as_of - policy.window, calibration.start - gap)
    if fit.end <= fit.start:
        raise UseCaseError(
            f"training window of {policy.window} leaves nothing to fit on behind calibration {policy.calibration}, "
            f"evaluation {policy.evaluation}, two gaps of {gap} and the label horizon {horizon}; lengthen the window"
        )
    return Windows(fit, calibration, evaluation, gap)


def parts_of_rows(frame: pd.DataFrame, parts: Windows) -> npt.NDArray[np.str_]:
    """Part of each row, or ``hidden``; empty in a gap, and where the label came later than the next part's start."""
    times, known = frame["requested_at"], frame["known_at"]
    is_labelled = frame["label"].notna().to_numpy(dtype=bool)
    result = np.full(len(frame), "", dtype="<U11")
    for name, window in zip(PARTS, (parts.fit, parts.calibration, parts.evaluation), strict=True):
        is_in = window.holds(times)
        result[is_in & ~is_labelled] = HIDDEN
        is_in &= is_labelled
        if name != EVALUATION:
            is_in &= (known <= window.end + parts.gap).to_numpy(dtype=bool)
        result[is_in] = name
    return result


def split(frame: pd.DataFrame, parts: Windows, min_rows: int) -> npt.NDArray[np.str_]:
    """Part of each row, as ``parts_of_rows``, when every part can do its work.

    Raises:
        NotEnoughData: a part has too few rows, or labels of one class only.
    """
    result = parts_of_rows(frame, parts)
    for name, window in zip(PARTS, (parts.fit, parts.calibration, parts.evaluation), strict=True):
        needed = min_rows if name == FIT else min(MIN_ROWS_OF_A_PART, min_rows)
        labels = frame["label"][result == name].to_numpy(dtype=bool)
        if len(labels) < needed or labels.all() or not labels.any():
            raise NotEnoughData(
                f"{name} part {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} has {len(labels)} labelled "
                f"rows, {int(labels.sum())} of them positive; expected at least {needed} and both labels; "
                "ingest more days or lengthen the training policy"
            )
    return result


def time_blocks(is_fit: Labels, labels: Labels, n_blocks: int) -> list[tuple[Labels, Labels]]:
    """Pairs ``(rows to fit on, rows held out)``, each block of consecutive fit rows held out once."""
    pairs = []
    for block in np.array_split(np.flatnonzero(is_fit), n_blocks):
        held_out = np.zeros(len(is_fit), dtype=bool)
        held_out[block] = True
        rows = is_fit & ~held_out
        has_both = labels[rows].any() and not labels[rows].all()
        pairs.append((rows if has_both else is_fit, held_out))
    return pairs


def forward_blocks(
    frame: pd.DataFrame, is_fit: Labels, gap: timedelta, shares: Sequence[float]
) -> list[tuple[Labels, Labels]]:
    """Pairs ``(rows to fit on, rows to judge)``: consecutive blocks of fit rows, each with what was known before it.

    Args:
        shares: ascending, in [0, 1]: a block lies between two neighbours, as shares of the fit rows.
        gap: between the rows to fit on and the block; blocks that it leaves nothing to fit on, and those without
                a row, are left out.

    Raises:
        NotEnoughData: no block is left.
    """
    times, known = frame["requested_at"], frame["known_at"]
    labels = frame["label"].fillna(False).to_numpy(dtype=bool)
    rows = np.flatnonzero(is_fit)
    pairs = []
    for start, end in pairwise(np.round(np.asarray(shares) * len(rows)).astype(int)):
        if start == end:
            continue
        judged = np.zeros(len(frame), dtype=bool)
        judged[rows[start:end]] = True
        begins_at = times.iloc[rows[start]]
        earlier = is_fit & (times < begins_at - gap).to_numpy() & (known <= begins_at).to_numpy(dtype=bool)
        if all(_teaches(labels[part]) for part in (earlier, judged)):
            pairs.append((earlier, judged))
    if not pairs:
        raise NotEnoughData(
            f"fit window of {len(rows)} rows has no block of {MIN_ROWS_OF_A_PART} rows with both labels behind as "
            f"many, with a gap of {gap} between; lengthen the training policy's window, or do without search and "
            "early stop"
        )
    return pairs


def _teaches(labels: Labels) -> bool:
    return len(labels) >= MIN_ROWS_OF_A_PART and bool(labels.any()) and not labels.all()


def reference_rows(part: npt.NDArray[np.str_], limit: int, seed: int) -> npt.NDArray[np.int64]:
    """Positions of the rows of the drift reference, in order: every row of a part, at most ``limit``, sampled."""
    rows = np.flatnonzero(part != "")
    if len(rows) <= limit:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, size=limit, replace=False))
