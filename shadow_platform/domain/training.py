"""Training: from a point-in-time frame to a fitted, calibrated, judged model, in time order.

Belongs here: the split, what is learned from its parts (imputation, level tables, model, calibration), metrics, the
parity report, fingerprints. Does not belong here: how the frame is made (assets), the encoding of values and ONNX
(adapters.bundle, adapters.onnx_export; the encoding is passed in), which model serves (promotion).
Upstream: the training frame: ``subject_id, requested_at, label, known_at`` and one column a feature. Downstream:
bundle, registry.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.metrics import f1_score, roc_auc_score, roc_curve

from shadow_platform.contracts.bundle import Calibration, CategoricalInput, NumericInput
from shadow_platform.contracts.errors import NotEnoughData, UseCaseError
from shadow_platform.contracts.use_case import Estimator, Feature, ModelSpec, TrainingPolicy
from shadow_platform.contracts.verdicts import Outcome, ParityReport

FIT, CALIBRATION, EVALUATION = "fit", "calibration", "evaluation"
PARTS = (FIT, CALIBRATION, EVALUATION)
HIDDEN = "hidden"  # in a part's window, without a label: it teaches nothing, but its like will ask again

# Probabilities are clipped to [0.01, 0.99] in every log loss of the platform (docs/methods.md).
LOG_LOSS_CLIP = 0.01
# Must equal the floor of the served probability: closer to 0 and 1 float32 carries no information.
PROBABILITY_FLOOR = 1e-6
CALIBRATION_BINS = 10
# Categorical levels beyond this many, rarest first, share code 0.
MAX_LEVELS = 1_000
MIN_ROWS_OF_A_PART = 100
CROSS_FITS = 3

PARITY_TOLERANCE = 1e-5
PARITY_SHARE = 0.9999
PARITY_LIMIT = 1e-3

Inputs = tuple[NumericInput | CategoricalInput, ...]
Matrix = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]
Encode = Callable[[Sequence[NumericInput | CategoricalInput], pd.DataFrame], tuple[Matrix, Any]]


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


@dataclass(frozen=True, slots=True)
class Trained:
    """A fitted model and all that was learned and measured with it.

    Attributes:
        part: ``fit``, ``calibration`` or ``evaluation`` per row of the frame; empty where a gap left the row out.
        scores: calibrated out-of-sample probability per row; NaN where a gap left the row out. Rows of the fit part
            are scored by models fitted on the other time blocks, because in-sample scores are more extreme than any
            score in service, and a reference made of them would drift by itself.
        matrix: encoded evaluation rows; ``labels`` and ``probabilities`` (scikit-learn, calibrated) belong to them.
    """

    estimator: Estimator
    inputs: Inputs
    calibration: Calibration
    windows: Windows
    part: npt.NDArray[np.str_]
    scores: Floats
    matrix: Matrix
    labels: Labels
    probabilities: Floats
    metrics: dict[str, float]

    @property
    def n_fit(self) -> int:
        """Rows of the fit part."""
        return int((self.part == FIT).sum())


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


def assemble(
    requests: pd.DataFrame,
    view_values: pd.DataFrame | None,
    labels: pd.DataFrame,
    features: Sequence[Feature],
    as_of: datetime,
    keep_hidden: bool = False,
) -> pd.DataFrame:
    """Training frame of the requests whose label was known at ``as_of``, in time order, without an index.

    Args:
        requests: ``subject_id, requested_at`` and the request features; one row a request.
        view_values: features of the views, row by row as ``requests``.
        labels: ``subject_id, requested_at, label, known_at``; of several labels of a request the latest known counts.
        keep_hidden: requests without a label stay: where decisions hide labels, the labelled are not like those who
            will ask, and a drift reference made of them alone would drift by itself.
    """
    key = ["subject_id", "requested_at"]
    repeated = requests.duplicated(key)
    if repeated.any():
        first = requests.loc[repeated, key].iloc[0]
        raise UseCaseError(
            f"requests_sql returns subject {first['subject_id']!r} at {first['requested_at']} more than once "
            f"({repeated.sum()} repeated rows); expected one row a subject_id and requested_at; make the query distinct"
        )
    columns = {name: requests[name].reset_index(drop=True) for name in key}
    for feature in features:
        source = requests if feature.view is None or view_values is None else view_values
        columns[feature.name] = source[feature.name].reset_index(drop=True)
    known = labels[labels["known_at"] <= as_of].sort_values("known_at").drop_duplicates(key, keep="last")
    frame = pd.DataFrame(columns).merge(known[[*key, "label", "known_at"]], on=key, how="left", validate="1:1")
    frame = frame.astype({"label": "boolean"}) if keep_hidden else frame[frame["label"].notna()].astype({"label": bool})
    return frame.sort_values(["requested_at", "subject_id"], kind="stable").reset_index(drop=True)


def split(frame: pd.DataFrame, parts: Windows, min_rows: int) -> npt.NDArray[np.str_]:
    """Part of each row, or ``hidden``; empty in a gap, and where the label came later than the next part's start.

    Raises:
        NotEnoughData: a part has too few rows, or labels of one class only.
    """
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
        needed = min_rows if name == FIT else min(MIN_ROWS_OF_A_PART, min_rows)
        labels = frame["label"][is_in].to_numpy(dtype=bool)
        if len(labels) < needed or labels.all() or not labels.any():
            raise NotEnoughData(
                f"{name} part {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} has {len(labels)} labelled "
                f"rows, {int(labels.sum())} of them positive; expected at least {needed} and both labels; "
                "ingest more days or lengthen the training policy"
            )
    return result


def learn_inputs(features: Sequence[Feature], frame: pd.DataFrame) -> Inputs:
    """Imputation medians and level tables of the given rows; give the fit part only."""
    return tuple(
        _numeric_input(feature, frame) if feature.kind == "numeric" else _categorical_input(feature, frame)
        for feature in features
    )


def _numeric_input(feature: Feature, frame: pd.DataFrame) -> NumericInput:
    values = pd.to_numeric(frame[feature.name]).to_numpy(dtype=np.float64, na_value=np.nan)
    known = values[np.isfinite(values)]
    return NumericInput(name=feature.name, imputed=float(np.float32(np.median(known))) if len(known) else 0.0)


def _categorical_input(feature: Feature, frame: pd.DataFrame) -> CategoricalInput:
    counts = frame[feature.name].dropna().astype(object).value_counts()
    wrong = next((level for level in counts.index if not isinstance(level, str)), None)
    if wrong is not None:
        raise UseCaseError(
            f"categorical feature {feature.name!r} holds {wrong!r} ({type(wrong).__name__}); expected strings; "
            "cast it to VARCHAR in the feature SQL"
        )
    ranked = sorted(counts.index, key=lambda level: (-int(counts[level]), level))
    return CategoricalInput(name=feature.name, levels=tuple(sorted(ranked[:MAX_LEVELS])))


def train(
    frame: pd.DataFrame,
    features: Sequence[Feature],
    spec: ModelSpec,
    policy: TrainingPolicy,
    horizon: timedelta,
    threshold: float,
    as_of: datetime,
    seed: int,
    encode: Encode,
) -> Trained:
    """Fit, calibrate and judge one model family on a frame.

    Args:
        frame: rows in time order, as described in the module's charter.
        encode: the platform's one encoding of feature values (``adapters.bundle.encode_frame``).
    """
    parts = windows(policy, horizon, as_of)
    part = split(frame, parts, policy.min_rows)
    is_fit, is_calibration, is_evaluation = (part == name for name in PARTS)
    inputs = learn_inputs(features, frame[is_fit])
    matrix, _ = encode(inputs, frame)
    labels = frame["label"].fillna(False).to_numpy(dtype=bool)

    def fitted(rows: Labels) -> Estimator:
        model = spec.build(features, _level_counts(inputs), seed)
        model.fit(matrix[rows], labels[rows])
        return model

    estimator = fitted(is_fit)
    calibration = calibrate(raw_scores(estimator, matrix[is_calibration]), labels[is_calibration])
    scores = np.full(len(frame), np.nan)
    for rows, held_out in time_blocks(is_fit, labels):
        scores[held_out] = calibrated(raw_scores(fitted(rows), matrix[held_out]), calibration)
    unseen = is_calibration | is_evaluation | (part == HIDDEN)
    scores[unseen] = calibrated(raw_scores(estimator, matrix[unseen]), calibration)
    probabilities = scores[is_evaluation]
    return Trained(
        estimator=estimator,
        inputs=inputs,
        calibration=calibration,
        windows=parts,
        part=part,
        scores=scores,
        matrix=matrix[is_evaluation],
        labels=labels[is_evaluation],
        probabilities=probabilities,
        metrics=metrics(labels[is_evaluation], probabilities, threshold),
    )


def _level_counts(inputs: Inputs) -> dict[str, int]:
    return {column.name: len(column.levels) for column in inputs if isinstance(column, CategoricalInput)}


def time_blocks(is_fit: Labels, labels: Labels, n_blocks: int = CROSS_FITS) -> list[tuple[Labels, Labels]]:
    """Pairs ``(rows to fit on, rows held out)``, each block of consecutive fit rows held out once."""
    pairs = []
    for block in np.array_split(np.flatnonzero(is_fit), n_blocks):
        held_out = np.zeros(len(is_fit), dtype=bool)
        held_out[block] = True
        rows = is_fit & ~held_out
        has_both = labels[rows].any() and not labels[rows].all()
        pairs.append((rows if has_both else is_fit, held_out))
    return pairs


def raw_scores(estimator: Estimator, matrix: Matrix) -> Floats:
    """Uncalibrated probability of the positive label, shape ``(rows,)``."""
    return np.asarray(estimator.predict_proba(matrix), dtype=np.float64)[:, 1]


def calibrate(raw: Floats, labels: Labels) -> Calibration:
    """Platt scaling of logits, with Platt's smoothed targets (Platt 1999, section 2.2); never reverses the ranking."""
    z = logit(np.clip(raw, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR))
    n_positive, n_negative = int(labels.sum()), int((~labels).sum())
    targets = np.where(labels, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))

    def loss(parameters: Floats) -> tuple[float, Floats]:
        linear = parameters[0] * z + parameters[1]
        residual = expit(linear) - targets
        value = np.mean(np.logaddexp(0, linear) - targets * linear)
        return float(value), np.array([np.mean(residual * z), np.mean(residual)])

    fitted = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.0, None), (None, None)])
    return Calibration(slope=float(fitted.x[0]), intercept=float(fitted.x[1]))


def calibrated(raw: Floats, calibration: Calibration) -> Floats:
    """``sigmoid(slope * logit(raw) + intercept)``, as the bundle computes it."""
    z = logit(np.clip(raw, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR))
    result: Floats = expit(calibration.slope * z + calibration.intercept)
    return result


def metrics(labels: Labels, probabilities: Floats, threshold: float) -> dict[str, float]:
    """ROC-AUC (NaN with one class only), log loss, Brier score, F1 at the threshold, calibration error, base rate."""
    clipped = np.clip(probabilities, LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    has_both = bool(labels.any() and not labels.all())
    return {
        "roc_auc": float(roc_auc_score(labels, probabilities)) if has_both else float("nan"),
        "log_loss": float(-np.mean(np.where(labels, np.log(clipped), np.log1p(-clipped)))),
        "brier": float(np.mean((probabilities - labels) ** 2)),
        "f1": float(f1_score(labels, probabilities >= threshold, zero_division=0)),
        "calibration_error": calibration_error(labels, probabilities),
        "base_rate": float(np.mean(labels)),
    }


def reliability(labels: Labels, probabilities: Floats, n_bins: int = CALIBRATION_BINS) -> pd.DataFrame:
    """Mean probability, share of positives and rows ``n`` of each equal-width bin that has rows."""
    bins = np.minimum((probabilities * n_bins).astype(int), n_bins - 1)
    table = pd.DataFrame({"bin": bins, "probability": probabilities, "observed": labels.astype(float)}).groupby("bin")
    result = table.mean()
    result["n"] = table.size()
    return result.reset_index(drop=True)


def calibration_error(labels: Labels, probabilities: Floats) -> float:
    """Expected calibration error over ten equal-width bins (Naeini et al. 2015)."""
    table = reliability(labels, probabilities)
    return float(np.average((table["probability"] - table["observed"]).abs(), weights=table["n"]))


def roc(labels: Labels, probabilities: Floats) -> pd.DataFrame:
    """False and true positive rate along the ROC curve."""
    false_positive_rate, true_positive_rate, _ = roc_curve(labels, probabilities)
    return pd.DataFrame({"false_positive_rate": false_positive_rate, "true_positive_rate": true_positive_rate})


def parity(expected: Floats, answered: Floats, threshold: float) -> ParityReport:
    """Whether the exported model answers as scikit-learn does, on calibrated probabilities of the same rows.

    Passes when 99.99 % of the rows agree within 1e-5, none differs by more than 1e-3, and no decision flips.
    """
    if len(expected) == 0:
        return ParityReport(
            n=0, max_abs_diff=0.0, share_within_1e5=0.0, flipped_decisions=0, outcome=Outcome.INSUFFICIENT
        )
    distance = np.where(np.isfinite(answered), np.abs(expected - answered), np.inf)
    within = float(np.mean(distance <= PARITY_TOLERANCE))
    largest = float(distance.max())
    flipped = int(((expected >= threshold) != (answered >= threshold)).sum())
    passes = within >= PARITY_SHARE and largest <= PARITY_LIMIT and flipped == 0
    return ParityReport(
        n=len(expected),
        max_abs_diff=largest,
        share_within_1e5=within,
        flipped_decisions=flipped,
        outcome=Outcome.PASS if passes else Outcome.FAIL,
    )


def reference_rows(part: npt.NDArray[np.str_], limit: int, seed: int) -> npt.NDArray[np.int64]:
    """Positions of the rows of the drift reference, in order: every row of a part, at most ``limit``, sampled."""
    rows = np.flatnonzero(part != "")
    if len(rows) <= limit:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, size=limit, replace=False))


def frame_fingerprint(frame: pd.DataFrame) -> str:
    """SHA-256 over column names and values in order; the same before and after a round trip through Parquet."""
    digest = hashlib.sha256(f"{len(frame)}".encode())
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
            column = column.astype("datetime64[us, UTC]").astype("int64")
        elif pd.api.types.is_numeric_dtype(column.dtype):
            column = pd.Series(column.to_numpy(dtype=np.float64, na_value=np.nan))
        else:
            column = column.astype(object).where(column.notna(), None)
        hashes = pd.util.hash_pandas_object(column, index=False).to_numpy(dtype=np.uint64)
        digest.update(f"\0{name}\0".encode())
        digest.update(hashes.tobytes())
    return digest.hexdigest()


def fingerprint(value: Mapping[str, Any]) -> str:
    """SHA-256 over a mapping as canonical JSON; what JSON does not know enters as its text.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
