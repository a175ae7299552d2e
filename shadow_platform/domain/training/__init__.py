"""Training: from a point-in-time frame to a fitted, calibrated, judged model, in time order.

Belongs here: the split (``windows``), what is learned from its parts (``inputs``, ``fitting``, ``calibration``), with
which hyperparameters (``hyperparameters``, ``early_stop``, ``search``), how good it is (``metrics``, ``segments``,
``curves``, ``importance``, ``monotone``), whether that is enough (``quality``), the parity report, fingerprints. Does
not belong here: how the frame is read (assets), the encoding of values and ONNX (adapters.bundle, adapters.onnx_export;
the encoding is passed in), which model serves (promotion).
Upstream: the training frame: ``subject_id, requested_at, label, known_at`` and one column a feature. Downstream:
bundle, registry.
"""

from shadow_platform.domain.training.calibration import calibrate, calibrated
from shadow_platform.domain.training.curves import gain, precision_recall, reliability, roc
from shadow_platform.domain.training.fingerprints import (
    SOURCES,
    bundle_fingerprints,
    fingerprint,
    frame_fingerprint,
    partitions_fingerprint,
    queries_fingerprint,
)
from shadow_platform.domain.training.fitting import Trained, raw_scores, train
from shadow_platform.domain.training.frame import assemble
from shadow_platform.domain.training.hyperparameters import accepted
from shadow_platform.domain.training.importance import importances
from shadow_platform.domain.training.inputs import learn_inputs
from shadow_platform.domain.training.metrics import estimates, metrics
from shadow_platform.domain.training.monotone import monotonicity
from shadow_platform.domain.training.parity import parity
from shadow_platform.domain.training.quality import archived_reason, quality
from shadow_platform.domain.training.search import Objective
from shadow_platform.domain.training.segments import segment_metrics
from shadow_platform.domain.training.windows import (
    CALIBRATION,
    EVALUATION,
    FIT,
    HIDDEN,
    PARTS,
    Window,
    Windows,
    parts_of_rows,
    reference_rows,
    split,
    time_blocks,
    windows,
)

__all__ = [
    "CALIBRATION",
    "EVALUATION",
    "FIT",
    "HIDDEN",
    "PARTS",
    "SOURCES",
    "Objective",
    "Trained",
    "Window",
    "Windows",
    "accepted",
    "archived_reason",
    "assemble",
    "bundle_fingerprints",
    "calibrate",
    "calibrated",
    "estimates",
    "fingerprint",
    "frame_fingerprint",
    "gain",
    "importances",
    "learn_inputs",
    "metrics",
    "monotonicity",
    "parity",
    "partitions_fingerprint",
    "parts_of_rows",
    "precision_recall",
    "quality",
    "queries_fingerprint",
    "raw_scores",
    "reference_rows",
    "reliability",
    "roc",
    "segment_metrics",
    "split",
    "time_blocks",
    "train",
    "windows",
]
