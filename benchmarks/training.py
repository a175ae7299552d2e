"""What a training costs, and how fast its bundle answers next to the scikit-learn model it was made of.

``python -m benchmarks.training [--rows 200000] [--family NAME] [--many-levels]``; ``--rows 1000000`` for the figures of
docs/benchmarks.md. Each family is trained in a process of its own, on 20 numbers and 5 categories: fit, calibration,
out-of-sample scores of all rows, export and parity. Scores are timed in turn, bundle and scikit-learn, row by row and
by a thousand; the bundle starts from rows as a request brings them, scikit-learn from an encoded matrix.
Upstream: domain.training, the kit's families, the bundle. Downstream: docs/benchmarks.md.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shadow_platform.adapters.bundle import Bundle, OnnxModel, encode_frame, write_bundle
from shadow_platform.adapters.onnx_export import export_onnx
from shadow_platform.contracts.bundle import BundleManifest
from shadow_platform.contracts.use_case import Feature, ModelSpec, TrainingPolicy
from shadow_platform.domain import training
from shadow_platform.use_case_kit.models import gradient_boosting, lightgbm, logistic_regression, random_forest

FAMILIES = (logistic_regression, gradient_boosting, random_forest, lightgbm)
N_NUMERIC, LEVELS, MANY_LEVELS = 20, (3, 5, 8, 20, 100), 1_000
# The last one is in the frame only with --many-levels.
FEATURES = (
    *(Feature(f"n{i:02d}", "A number", unit="1") for i in range(N_NUMERIC)),
    *(Feature(f"c{i}", "A category", kind="categorical") for i in range(len(LEVELS) + 1)),
)
AS_OF = datetime(2024, 4, 1, tzinfo=UTC)
HORIZON = timedelta(days=1)
POLICY = TrainingPolicy(window=timedelta(days=90))
THRESHOLD = 0.2
BATCH, SINGLE_ROUNDS, BATCH_ROUNDS = 1_000, 1_000, 50


def frame(n: int, levels: Sequence[int]) -> pd.DataFrame:
    """Labelled requests over 90 days; a tenth of the features matter, 3 % of every one is missing."""
    rng = np.random.default_rng(0)
    moments = pd.to_datetime(AS_OF - POLICY.window) + pd.to_timedelta(np.linspace(0, 90 * 86_400 - 1, n), unit="s")
    columns: dict[str, Any] = {"subject_id": np.arange(n).astype(str), "requested_at": moments.as_unit("us")}
    logits = np.full(n, -2.0)
    for i in range(N_NUMERIC):
        values = rng.normal(size=n) if i % 2 else rng.lognormal(3, 1.5, n)
        logits += 0.6 * np.tanh(values / (1 + i)) * (i < 4)
        columns[f"n{i:02d}"] = np.where(rng.random(n) < 0.03, np.nan, values)
    for i, size in enumerate(levels):
        places = rng.integers(0, size, n)
        logits += 0.3 * np.sin(places) * (i < 2)
        names = np.array([f"level-{place:03d}" for place in range(size)], dtype=object)
        columns[f"c{i}"] = pd.Series(names[places]).mask(rng.random(n) < 0.03, None)
    columns["label"] = rng.random(n) < 1 / (1 + np.exp(-logits))
    columns["known_at"] = columns["requested_at"] + HORIZON
    return pd.DataFrame(columns)


def features_of(rows: pd.DataFrame) -> tuple[Feature, ...]:
    """Features that a frame has."""
    return tuple(feature for feature in FEATURES if feature.name in rows)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(name: str, file: Path, results: "multiprocessing.Queue[dict[str, float]]") -> None:
    """Train one family on the frame of a file, and time its answers; puts the figures into the queue."""
    (family,) = (family for family in FAMILIES if family.name == name)
    rows = pd.read_parquet(file)
    features = features_of(rows)
    before = _peak_gib()
    wall, cpu = time.perf_counter(), _cpu_s()
    spec = ModelSpec(name, family())
    trained = training.train(rows, features, spec, POLICY, HORIZON, THRESHOLD, AS_OF, 0, encode_frame)
    fitted = time.perf_counter()
    onnx_bytes = export_onnx(trained.estimator, len(features))
    answered = OnnxModel(onnx_bytes, trained.calibration).predict(trained.matrix)
    parity = training.parity(trained.probabilities, answered, THRESHOLD)
    figures = {
        "train_s": fitted - wall,
        "export_s": time.perf_counter() - fitted,
        "cpu_s": _cpu_s() - cpu,
        "frame_gib": before,
        "peak_gib": _peak_gib(),
        "onnx_kib": len(onnx_bytes) / 1024,
        "parity": float(parity.outcome == "pass"),
        "max_abs_diff": parity.max_abs_diff,
        "roc_auc": trained.metrics["roc_auc"],
    }
    results.put(figures | _answers(trained, onnx_bytes, parity, rows))


def _answers(trained: training.Trained, onnx_bytes: bytes, parity: Any, rows: pd.DataFrame) -> dict[str, float]:
    """Median microseconds of an answer, bundle and scikit-learn in turn."""
    judged = rows[trained.part == training.EVALUATION][[feature.name for feature in features_of(rows)]].head(BATCH)
    requests: list[dict[str, Any]] = [dict(row) for row in judged.astype(object).to_dict("records")]
    matrix = trained.matrix[: len(requests)]
    with tempfile.TemporaryDirectory() as folder:
        manifest = BundleManifest(
            use_case="benchmark", model_name="model", inputs=trained.inputs, calibration=trained.calibration,
            threshold=THRESHOLD, trained_as_of=AS_OF, evaluation_start=AS_OF, evaluation_end=AS_OF, n_train=1,
            n_evaluation=1, metrics={}, parity=parity, fingerprints={}, seed=0,
        )  # fmt: skip
        reference = judged.assign(score=0.5, requested_at=AS_OF)
        _, path = write_bundle(Path(folder), manifest, onnx_bytes, reference, requests[:20])
        bundle = Bundle.load(path)
    predict = trained.estimator.predict_proba
    ways: dict[str, Callable[[slice], object]] = {
        "bundle": lambda part: bundle.predict(bundle.encode(requests[part])[0]),
        "onnx": lambda part: bundle.predict(matrix[part]),
        "sklearn": lambda part: predict(matrix[part]),
    }
    one = _in_turn(ways, [slice(i, i + 1) for i in range(min(SINGLE_ROUNDS, len(requests)))])
    many = _in_turn(ways, [slice(None)] * BATCH_ROUNDS)
    return {f"{name}_us": one[name] for name in ways} | {f"{name}_batch_us": many[name] for name in ways}


def _in_turn(ways: Mapping[str, Callable[[slice], object]], parts: Sequence[slice]) -> dict[str, float]:
    """Median microseconds of each way to answer parts of the rows; each part goes all ways before the next."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for part in parts:
        for name, answer in ways.items():
            started = time.perf_counter()
            answer(part)
            times[name].append(time.perf_counter() - started)
    return {name: float(np.median(found) * 1e6) for name, found in times.items()}


def main() -> None:
    """Print a table of training and one of scoring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--family", choices=[family.name for family in FAMILIES], action="append")
    parser.add_argument("--many-levels", action="store_true", help=f"one more category, of {MANY_LEVELS:,} levels")
    chosen = parser.parse_args()
    levels = (*LEVELS, MANY_LEVELS) if chosen.many_levels else LEVELS
    context = multiprocessing.get_context("spawn")
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frame.parquet"
        frame(chosen.rows, levels).to_parquet(file, index=False)
        for name in chosen.family or [family.name for family in FAMILIES]:
            results: multiprocessing.Queue[dict[str, float]] = context.Queue()
            process = context.Process(target=measure, args=(name, file, results))
            process.start()
            process.join()
            if process.exitcode == 0:
                found[name] = results.get()
                print(f"{name}: trained in {found[name]['train_s']:.0f} s", flush=True)
    _print(found, chosen.rows, N_NUMERIC + len(levels))


def _print(found: dict[str, dict[str, float]], n: int, n_features: int) -> None:
    print(f"\n{n:,} rows x {n_features}; a process a family; peak with the frame, which it had read")
    heads = ("train s", "export s", "CPU s", "frame GiB", "peak GiB", "ONNX KiB", "ROC-AUC", "parity")
    print(" " * 20 + "".join(f"{head:>10}" for head in heads))
    for name, of in found.items():
        numbers = "".join(f"{of[key]:10.1f}" for key in ("train_s", "export_s", "cpu_s"))
        sizes = f"{of['frame_gib']:10.2f}{of['peak_gib']:10.2f}{of['onnx_kib']:10.0f}{of['roc_auc']:10.3f}"
        print(f"{name:20}{numbers}{sizes}{'pass' if of['parity'] else 'FAIL':>10} ({of['max_abs_diff']:.0e})")
    print(
        "\nmedian microseconds: bundle from a request's rows, its model alone, scikit-learn alone; scikit-learn / both"
    )
    for name, of in found.items():
        for suffix, label in (("_us", "one row"), ("_batch_us", f"{BATCH:,} rows")):
            bundle, onnx, sklearn = (of[f"{way}{suffix}"] for way in ("bundle", "onnx", "sklearn"))
            ratios = f"{sklearn / bundle:8.1f}{sklearn / onnx:8.1f}"
            print(f"{name:20}{label:>10}{bundle:10.0f}{onnx:10.0f}{sklearn:10.0f}{ratios}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
