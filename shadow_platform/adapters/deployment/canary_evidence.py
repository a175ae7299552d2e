"""What was read of a canary's step, as a file beside the deployment: whoever looks next reads on from there.

Belongs here: that file. Does not belong here: reading the prediction log (``resources``), what counts (``domain.slo``).
A shortcut and no record: replaced whole, but not synced to the device, and one that cannot be read is made anew.
Upstream: promotion and its sensor. Downstream: the same.
"""

import logging
import os

import uuid_utils
from pydantic import ValidationError

from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.rollouts import CanaryEvidence

LOGGER = logging.getLogger("shadow_platform.canary_evidence")


def read_canary_evidence(layout: Layout, use_case: str) -> CanaryEvidence | None:
    """What was kept last, of whichever step; ``None`` when there is nothing."""
    try:
        return CanaryEvidence.model_validate_json(layout.canary_evidence(use_case).read_bytes())
    except (OSError, ValidationError):
        return None


def write_canary_evidence(layout: Layout, evidence: CanaryEvidence) -> None:
    """Replace what is kept; where that fails, the next reader begins where this one did."""
    path = layout.canary_evidence(evidence.use_case)
    beside = path.with_name(f".{path.name}.{os.getpid()}.{uuid_utils.uuid7()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(evidence.model_dump_json().encode())
        beside.replace(path)
    except OSError as error:
        LOGGER.warning("what was read of the canary of %s cannot be kept (%s)", evidence.use_case, error)
    finally:
        beside.unlink(missing_ok=True)
