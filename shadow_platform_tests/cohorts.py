"""Frames in the form of the published tables, made from simulated streams."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from shadow_platform_tests.streams import Stream

START = datetime(2013, 3, 1, tzinfo=UTC)


def paired_cohort(stream: Stream, per_day: int = 100) -> pd.DataFrame:
    """Matured cohort of the first row of a stream, every request compared and labelled."""
    n = stream.label.shape[1]
    step = timedelta(days=1) / per_day
    champion, challenger = stream.champion[0], stream.challenger[0]
    return pd.DataFrame(
        {
            "request_id": [f"r{i:06d}" for i in range(n)],
            "subject_id": [f"s{i % 97}" for i in range(n)],
            "requested_at": pd.DatetimeIndex([START + i * step for i in range(n)]).as_unit("us"),
            "label": pd.array(stream.label[0] > 0, dtype="boolean"),
            "is_prevented": False,
            "is_hidden": False,
            "label_propensity": 1.0,
            "probability": champion,
            "prediction": champion >= 0.5,
            "outcome": "compared",
            "challenger_probability": challenger,
            "challenger_prediction": challenger >= 0.5,
            "challenger_latency_ms": 0.4,
            "segment": np.where(np.arange(n) % 3 == 0, "a", "b"),
        }
    )
