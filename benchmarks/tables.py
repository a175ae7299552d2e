"""How fast logs become tables: a million predictions ingested, and one day of comparisons.

Run from the root of the repository: ``python -m benchmarks.tables [--rows 1000000]``. The floor is DuckDB reading the
same segments with the same types and throwing the rows away. Upstream: lake, log. Downstream: docs/benchmarks.md.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from shadow_platform.adapters.lake import Lake
from shadow_platform.adapters.log import FileLogSink
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import ModelAnswer, PredictionRecord, ShadowRecord, SourceOffset
from shadow_platform.contracts.tables import PREDICTIONS, SHADOW_COMPARISON_HOURLY, SHADOW_COMPARISONS
from shadow_platform.domain.comparison import hourly

USE_CASE = "benchmark"
DAY = date(2024, 1, 1)
BATCH = 1_000
ROUNDS = 3


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _predictions(n: int) -> Iterator[PredictionRecord]:
    start = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    features: dict[str, Any] = {f"feature_{i:02d}": i * 1.25 for i in range(24)} | {"segment": "north"}
    first = PredictionRecord(
        request_id="", use_case=USE_CASE, subject_id="", entities={"customer_id": "C-1"}, requested_at="", logged_at="",
        features=features, feature_sources={"request": 8, "online": 17, "imputed": 0}, feature_age_s=120.5,
        model_version="1", bundle_hash="0" * 64, variant="champion", propensity=1.0, probability=0.31,
        prediction=False, threshold=0.5, latency_ms=1.25,
    )  # fmt: skip
    for i in range(n):
        at = _stamp(start + timedelta(milliseconds=86_400_000 * i / n))
        yield replace(first, request_id=f"{i:036d}", subject_id=f"C-{i}", requested_at=at, logged_at=at)


def _comparison(prediction: PredictionRecord) -> ShadowRecord:
    champion = ModelAnswer(prediction.probability, prediction.prediction, prediction.latency_ms, "1")
    return ShadowRecord(
        prediction.request_id, USE_CASE, prediction.subject_id, prediction.requested_at, prediction.logged_at,
        "compared", champion, ModelAnswer(0.35, False, 0.02, "2"), SourceOffset("segment", 1),
        probability_diff=0.04, prediction_match=True,
    )  # fmt: skip


def _write(layout: Layout, n: int) -> None:
    noon = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC).timestamp()
    predictions = FileLogSink(layout.log("predictions", USE_CASE), clock=lambda: noon)
    shadow = FileLogSink(layout.log("shadow", USE_CASE) / "challenger=2", clock=lambda: noon)
    batch: list[PredictionRecord] = []
    for record in _predictions(n):
        batch.append(record)
        if len(batch) == BATCH:
            predictions.append_many(batch)
            shadow.append_many([_comparison(prediction) for prediction in batch])
            batch = []
    predictions.close()
    shadow.close()


@contextmanager
def _timed(title: str, n: int, seconds: dict[str, list[float]]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    elapsed = time.perf_counter() - began
    seconds.setdefault(title, []).append(elapsed)
    print(f"  {title:<44}{elapsed:8.2f} s {n / elapsed:12,.0f} rows/s", flush=True)


def _floor(layout: Layout) -> None:
    files = sorted(str(path) for path in layout.log("predictions", USE_CASE).glob("dt=*/hour=*/*.jsonl"))
    with duckdb.connect() as connection:
        connection.execute(f"SELECT count(*), max(features) FROM read_json({files}, format = 'newline_delimited')")


def main() -> None:
    """Print seconds, rows per second and the ratio to the floor; the median of three alternating rounds counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    n = parser.parse_args().rows
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder))
        lake = Lake(layout)
        with _timed("append both logs", n, seconds):
            _write(layout, n)
        steps: dict[str, Callable[[], Any]] = {
            "floor: DuckDB reads the log, keeps nothing": lambda: _floor(layout),
            "predictions: log to table": lambda: lake.write_table(
                PREDICTIONS, USE_CASE, DAY, lake.ingest_predictions(USE_CASE, DAY)[0]
            ),
            "comparisons: log to table": lambda: lake.write_table(
                SHADOW_COMPARISONS, USE_CASE, DAY, lake.ingest_shadow(USE_CASE, DAY)[0]
            ),
            "comparisons: hourly table of the day": lambda: lake.write_table(
                SHADOW_COMPARISON_HOURLY,
                USE_CASE,
                DAY,
                hourly(lake.read_table(SHADOW_COMPARISONS, USE_CASE, DAY, DAY + timedelta(days=1))),
            ),
        }
        for _ in range(ROUNDS):
            for title, step in steps.items():
                with _timed(title, n, seconds):
                    step()
    medians = {title: sorted(values)[len(values) // 2] for title, values in seconds.items()}
    floor = medians["floor: DuckDB reads the log, keeps nothing"]
    print("ratios to the floor, medians:")
    for title, value in medians.items():
        print(f"  {title:<44}{value / floor:8.2f} x")


if __name__ == "__main__":
    main()
