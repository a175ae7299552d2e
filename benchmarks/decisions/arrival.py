"""False promotions when labels are taken as they arrive, positives first, and in prediction order.

Upstream: simulated streams, domain.gates. Downstream: docs/methods.md.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.drift.tables import Rate, Table
from shadow_platform.domain.gates.clusters import Clusters
from shadow_platform.domain.gates.sequence import confidence_sequence, log_loss
from shadow_platform_tests.streams import equal_models

STREAMS, PAIRS = 1_000, 3_000


def measure(scale: float) -> Iterator[Table]:
    """One table: orders of labels."""
    streams, rng = max(10, round(STREAMS * scale)), np.random.default_rng(4)
    stream = equal_models(rng, streams, PAIRS)
    champion, challenger = stream.champion * 0.8, np.clip(stream.champion * 1.185, 0, 0.99)
    differences = log_loss(champion, stream.label) - log_loss(challenger, stream.label)
    differences -= differences.mean()
    known = np.arange(PAIRS) / 60 + np.where(stream.label > 0, 1.0, 24.0)
    by_arrival = np.take_along_axis(differences, np.argsort(known, axis=1, kind="stable"), axis=1)
    looks, alone = np.arange(200, 1_501, 100), Clusters(np.arange(PAIRS))
    table = Table(
        "Positives known after an hour, negatives after a day; 60 requests an hour; equal challenger, higher answers",
        ["order", "false promotions"],
    )
    for name, rows in (("labels as they arrive", by_arrival), ("matured cohorts, prediction order", differences)):
        hits = sum(bool((confidence_sequence(row, alone).lower[looks - 1] > 0).any()) for row in rows)
        table.add([name, Rate(hits, streams).percent_up_to()], {"order": name, "hits": hits})
    yield table.end(f"{streams:,} streams, looks every 100 labels from 200 to 1,500.")
