"""Bundles on disk (ONNX Runtime): written once, checked when loaded, answering without unpickling anything.

Belongs here: the folder format, its hash, and the one encoding of feature values, used alike by training, service and
shadow worker. Does not belong here: fitting, calibration, metrics (``domain.training``), the making of ONNX
(``adapters.onnx_export``) and of the documents for people (``adapters.pages``), versions and aliases
(``adapters.registry``).
Upstream: training writes. Downstream: registry, Bento, service, shadow worker and drift load.
"""

from shadow_platform.adapters.bundle.encoding import Encoder, encode_frame, encode_rows
from shadow_platform.adapters.bundle.folder import (
    FILES,
    MANIFEST_FILE,
    MODEL_FILE,
    REFERENCE_FILE,
    SELFTEST_FILE,
    bundle_hash,
    publish,
)
from shadow_platform.adapters.bundle.loading import CARD_FILE, SELFTEST_TOLERANCE, Bundle, read_bundle_manifest
from shadow_platform.adapters.bundle.model import PROBABILITY_FLOOR, OnnxModel, stoppable
from shadow_platform.adapters.bundle.writing import BundleStore, write_bundle

__all__ = [
    "CARD_FILE",
    "FILES",
    "MANIFEST_FILE",
    "MODEL_FILE",
    "PROBABILITY_FLOOR",
    "REFERENCE_FILE",
    "SELFTEST_FILE",
    "SELFTEST_TOLERANCE",
    "Bundle",
    "BundleStore",
    "Encoder",
    "OnnxModel",
    "bundle_hash",
    "encode_frame",
    "encode_rows",
    "publish",
    "read_bundle_manifest",
    "stoppable",
    "write_bundle",
]
