"""Pictures of verdicts are drawn for every outcome."""

import numpy as np
import pytest

from shadow_platform.adapters.drift_plots import drift_png
from shadow_platform.contracts.use_case import DriftPolicy
from shadow_platform_tests.domain.drift.frames import frame, judge


@pytest.mark.parametrize("n", [0, 1_000])
def test_picture_is_a_png_with_and_without_evidence(n: int) -> None:
    current = frame(max(n, 1), 2)[:n]
    png = drift_png(judge(frame(1_000, 1), current.assign(n1=np.nan)), DriftPolicy())
    assert png.startswith(b"\x89PNG")
