"""What a bundle says of itself: all that serving needs to answer with one model, without unpickling anything.

A bundle is a folder ``bundles/<hash>/`` with ``model.onnx``, ``bundle.json`` (a BundleManifest), ``reference.parquet``
(the frozen drift reference: features as known, score, requested_at) and ``selftest.json`` (rows with the probabilities
they must give), and what people read: ``card.json`` and ``card.html`` (``contracts.model_card``). Its hash is the
SHA-256 over the sorted names and contents of its files. Nothing in it depends on the clock, so that the same training
gives the same hash.
Upstream: training. Downstream: registry, Bento, service, shadow worker, drift.
"""

from datetime import datetime

from shadow_platform.contracts.models import Parameter
from shadow_platform.contracts.verdicts import Frozen, ParityReport


class NumericInput(Frozen):
    """A numeric column: raw float32, with the value that stands in when it is missing."""

    name: str
    imputed: float


class CategoricalInput(Frozen):
    """A categorical column: code is the level's place in ``levels`` plus one; 0 means missing or unknown."""

    name: str
    levels: tuple[str, ...]


class Calibration(Frozen):
    """Platt scaling: ``p = sigmoid(slope * logit(raw) + intercept)``."""

    slope: float
    intercept: float


class BundleManifest(Frozen):
    """Contents of ``bundle.json``.

    Attributes:
        inputs: columns of the ONNX model's one float32 input, in order.
        metrics: of the evaluation window, e.g. ``roc_auc, log_loss, brier, f1, calibration_error``.
        fingerprints: ``data, features, code, configuration, environment``.
        parameters: hyperparameters the model was fitted with, chosen ones included.
    """

    use_case: str
    model_name: str
    inputs: tuple[NumericInput | CategoricalInput, ...]
    calibration: Calibration
    threshold: float
    trained_as_of: datetime
    evaluation_start: datetime
    evaluation_end: datetime
    n_train: int
    n_evaluation: int
    metrics: dict[str, float]
    parity: ParityReport
    fingerprints: dict[str, str]
    seed: int
    parameters: dict[str, Parameter] = {}
