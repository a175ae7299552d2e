"""Guarantees of the export: thresholds of doubles split float32 values as they did."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shadow_platform.adapters.onnx_export import _floored

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(value=FLOATS, other=FLOATS, share=st.floats(0, 1))
def test_threshold_that_onnx_can_hold_splits_every_float32_value_as_the_double_did(value, other, share):
    threshold = value + share * (other - value)
    (held,) = (float(text) for text in _floored(repr(threshold)).split(" "))
    assert float(np.float32(held)) == held
    neighbours = np.float32(threshold)
    for seen in (value, other, neighbours, np.nextafter(neighbours, np.float32(np.inf)), np.float32(held)):
        assert (float(seen) <= threshold) == (float(seen) <= held)
