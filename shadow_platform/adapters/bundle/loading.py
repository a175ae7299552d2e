"""A bundle in memory: checked against its hash, then ready to answer.

Belongs here: opening, answering, the self-test, what lies beside the model. Does not belong here: making one
(``writing``). Upstream: a folder. Downstream: service, shadow worker, explanations, drift, gates, command line.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from shadow_platform.adapters.bundle.encoding import Counts, Encoder, Floats, Matrix, Row
from shadow_platform.adapters.bundle.folder import (
    MANIFEST_FILE,
    MODEL_FILE,
    REFERENCE_FILE,
    SELFTEST_FILE,
    bundle_hash,
)
from shadow_platform.adapters.bundle.model import OnnxModel
from shadow_platform.adapters.bundle.reference import read_reference
from shadow_platform.contracts.bundle import BundleManifest
from shadow_platform.contracts.errors import BundleError

if TYPE_CHECKING:
    from shadow_platform.contracts.model_card import ModelCard

CARD_FILE = "card.json"
SELFTEST_TOLERANCE = 1e-5


class Bundle:
    """A loaded bundle: what a process needs to answer with one model."""

    def __init__(self, folder: Path, digest: str, manifest: BundleManifest, model: OnnxModel) -> None:
        self.folder = folder
        self.hash = digest
        self.manifest = manifest
        self._model = model
        self._encoder = Encoder(manifest.inputs)

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Open a bundle; raises ``BundleError`` if it is incomplete or not what its hash, the folder's name, says."""
        if (found := bundle_hash(folder)) != folder.name:
            raise BundleError(
                f"bundle {folder} has hash {found}, expected {folder.name}: it was altered or is incomplete; "
                "fetch it from the registry again"
            )
        manifest = read_bundle_manifest(folder)
        try:
            onnx_bytes = (folder / MODEL_FILE).read_bytes()
        except OSError as error:
            raise BundleError(f"{folder / MODEL_FILE} cannot be read ({error}); fetch the bundle again") from error
        return cls(folder, folder.name, manifest, OnnxModel(onnx_bytes, manifest.calibration))

    def encode(self, rows: Sequence[Row]) -> tuple[Matrix, list[int]]:
        """Matrix of the rows and the number of missing values per row."""
        return self._encoder.rows(rows)

    def encode_frame(self, frame: pd.DataFrame) -> tuple[Matrix, Counts]:
        """Matrix of the frame's rows and the number of missing values per row."""
        return self._encoder.frame(frame)

    def predict(self, matrix: Matrix, run_options: Any = None) -> Floats:
        """Calibrated probabilities, shape ``(rows,)``, of a float32 matrix of shape ``(rows, inputs)``.

        Args:
            run_options: of ``stoppable``, so that another thread can end the call.
        """
        return self._model.predict(matrix, run_options)

    def reference(self) -> pd.DataFrame:
        """Frozen drift reference: features as known, ``score``, ``requested_at``."""
        return read_reference(self.folder / REFERENCE_FILE)

    def card(self) -> "ModelCard | None":
        """What is told of the model; ``None`` for a bundle from before cards."""
        from shadow_platform.contracts.model_card import ModelCard

        path = self.folder / CARD_FILE
        if not path.exists():
            return None
        try:
            return ModelCard.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise BundleError(f"{path} cannot be used ({error}); fetch the bundle again") from error

    def selftest(self) -> None:
        """Score the stored rows, one by one and together; raises ``BundleError`` if an answer is not the stored one."""
        cases = json.loads((self.folder / SELFTEST_FILE).read_text(encoding="utf-8"))
        if not cases:
            return
        matrix, _ = self.encode([case["features"] for case in cases])
        expected = np.array([case["probability"] for case in cases])
        singly = np.concatenate([self.predict(matrix[i : i + 1]) for i in range(len(matrix))])
        for answers in (self.predict(matrix), singly):
            distance = np.abs(answers - expected)
            if not np.all(distance <= SELFTEST_TOLERANCE):
                i = int(np.nanargmax(np.where(np.isnan(distance), np.inf, distance)))
                raise BundleError(
                    f"bundle {self.hash} fails its self-test: row {i} gives {answers[i]!r}, expected {expected[i]!r} "
                    f"within {SELFTEST_TOLERANCE}; do not serve it, train the model again on this platform"
                )


def read_bundle_manifest(folder: Path) -> BundleManifest:
    """Manifest of a bundle, without opening its model; raises ``BundleError``."""
    try:
        return BundleManifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise BundleError(f"{folder / MANIFEST_FILE} cannot be used ({error}); fetch the bundle again") from error
