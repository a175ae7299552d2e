"""Training: from a point-in-time frame to a fitted, calibrated, judged model, in time order.

Belongs here: the split (``windows``), what is learned from its parts (``inputs``, ``fitting``, ``calibration``), how
good it is (``metrics``, ``curves``), the parity report, fingerprints. Does not belong here: how the frame is read
(assets), the encoding of values and ONNX (adapters.bundle, adapters.onnx_export; the encoding is passed in), which
model serves (promotion).
Upstream: the training frame: ``subject_id, requested_at, label, known_at`` and one column a feature. Downstream:
bundle, registry.
"""

from shadow_platform.domain.training.calibration import calibrate, calibrated
from shadow_platform.domain.training.curves import gain, precision_recall, reliability, roc
from shadow_platform.domain.training.fingerprints import fingerprint, frame_fingerprint
from shadow_platform.domain.training.fitting import Trained, raw_scores, train
from shadow_platform.domain.training.frame import assemble
from shadow_platform.domain.training.inputs import learn_inputs
from shadow_platform.domain.training.metrics import estimates, metrics
from shadow_platform.domain.training.parity import parity
from shadow_platform.domain.training.windows import (
    CALIBRATION,
    EVALUATION,
    FIT,
    HIDDEN,
    PARTS,
    Window,
    Windows,
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
    "Trained",
    "Window",
    "Windows",
    "assemble",
    "calibrate",
    "calibrated",
    "estimates",
    "fingerprint",
    "frame_fingerprint",
    "gain",
    "learn_inputs",
    "metrics",
    "parity",
    "precision_recall",
    "raw_scores",
    "reference_rows",
    "reliability",
    "roc",
    "split",
    "time_blocks",
    "train",
    "windows",
]
