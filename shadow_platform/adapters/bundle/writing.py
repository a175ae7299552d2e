"""How a bundle comes into being: written beside, hashed, then moved to the folder of its hash.

Belongs here: files and their order. Does not belong here: making what is in them. Upstream: the training stage.
Downstream: the registry.
"""

import json
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from shadow_platform.adapters.bundle.encoding import (
    Counts,
    Floats,
    Inputs,
    Matrix,
    Row,
    encode_frame,
    encode_rows,
    is_missing_value,
)
from shadow_platform.adapters.bundle.folder import (
    FILES,
    MANIFEST_FILE,
    MODEL_FILE,
    REFERENCE_FILE,
    SELFTEST_FILE,
    bundle_hash,
    publish,
    sync,
)
from shadow_platform.adapters.bundle.loading import Bundle
from shadow_platform.adapters.bundle.model import OnnxModel
from shadow_platform.contracts.bundle import BundleManifest, Calibration
from shadow_platform.contracts.errors import BundleError

DOCUMENT_NAME = re.compile(r"[a-z0-9_]+\.(json|html)")


def write_bundle(
    folder_parent: Path,
    manifest: BundleManifest,
    onnx_bytes: bytes,
    reference: pd.DataFrame,
    selftest: Sequence[Row],
    documents: Mapping[str, bytes] = MappingProxyType({}),
) -> tuple[str, Path]:
    """Hash and folder ``folder_parent/<hash>`` of a new bundle; the same content gives the folder that exists.

    Args:
        reference: frozen drift reference: features as known, ``score``, ``requested_at`` (UTC).
        selftest: feature rows; the probabilities they give now are stored, and must be given ever after.
        documents: further files for people, by name (``card.json``, ``card.html``); nothing that serves reads them.
    """
    _require_documents(documents)
    folder_parent.mkdir(parents=True, exist_ok=True)
    temporary = folder_parent / f".new-{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        rows = [_json_row(manifest.inputs, row) for row in selftest]
        probabilities = OnnxModel(onnx_bytes, manifest.calibration).predict(encode_rows(manifest.inputs, rows)[0])
        cases = [{"features": row, "probability": float(p)} for row, p in zip(rows, probabilities, strict=True)]
        reference.reset_index(drop=True).to_parquet(temporary / REFERENCE_FILE, index=False)
        (temporary / MODEL_FILE).write_bytes(onnx_bytes)
        (temporary / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        (temporary / SELFTEST_FILE).write_text(json.dumps(cases, indent=1), encoding="utf-8")
        for name, content in documents.items():
            (temporary / name).write_bytes(content)
        for name in (*FILES, *documents):
            sync(temporary / name)
        digest = bundle_hash(temporary)
        return digest, publish(temporary, folder_parent / digest)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _require_documents(documents: Mapping[str, bytes]) -> None:
    for name in documents:
        if name in FILES or not DOCUMENT_NAME.fullmatch(name):
            raise BundleError(
                f"document {name!r} cannot lie in a bundle; expected a name such as card.json or card.html (lower case "
                f"letters, digits and _, ending in .json or .html) other than {', '.join(FILES)}"
            )


def _json_row(inputs: Inputs, row: Row) -> dict[str, float | str | None]:
    values = {column.name: row.get(column.name) for column in inputs}
    return {
        name: value if isinstance(value, str) else None if is_missing_value(value) else float(value)  # type: ignore[arg-type]
        for name, value in values.items()
    }


class BundleStore:
    """Bundles of one home folder, and the steps of making one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def encode(self, inputs: Inputs, frame: pd.DataFrame) -> tuple[Matrix, Counts]:
        """Matrix of the frame's rows and the number of missing values per row."""
        return encode_frame(inputs, frame)

    def score(self, onnx_bytes: bytes, calibration: Calibration, matrix: Matrix) -> Floats:
        """Probabilities that a bundle with this model would answer."""
        return OnnxModel(onnx_bytes, calibration).predict(matrix)

    def write(
        self,
        manifest: BundleManifest,
        onnx_bytes: bytes,
        reference: pd.DataFrame,
        selftest: Sequence[Row],
        documents: Mapping[str, bytes] = MappingProxyType({}),
    ) -> tuple[str, Path]:
        """Hash and folder of a new bundle, as ``write_bundle``."""
        return write_bundle(self.folder, manifest, onnx_bytes, reference, selftest, documents)

    def load(self, digest: str) -> Bundle:
        """Open a bundle by its hash; raises ``BundleError``."""
        return Bundle.load(self.folder / digest)
