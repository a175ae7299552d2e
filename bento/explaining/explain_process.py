"""The process beside a serving worker that explains one probability at a time; ``bento.explaining.explain`` starts it.

Belongs here: the child's life (low priority, gone with its worker, gone when idle), the budget of one explanation, and
the choice of method. Does not belong here: requests and answers (``bento.explaining.explain``), the arithmetic
(``domain.explanation``). Upstream: messages of the worker. Downstream: the same pipe.

With package ``shap`` installed its explainers are used as soon as they are warm: importing and compiling them takes 12
CPU-seconds and 310 MB on top of 1.5 and 180; until then, and without it, contributions are sampled by our own code.
"""

import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
import orjson

from bento.package import with_packaged_use_case
from shadow_platform.adapters.bundle import Bundle
from shadow_platform.domain.explanation import Attribution, Matrix, Predict, Vector, attribute, mean_attribution
from shadow_platform.settings import load_settings
from shadow_platform.telemetry.logs import configure_logging

LOGGER = logging.getLogger("shadow_platform.explain")

NICENESS = 10
IDLE_S = 600.0
"""Without a request for this long the process gives its memory back."""
READY = b"ready"
SEED = 0
N_BACKGROUND = 100
N_PARTS = 10
"""Parts of the background; one order is tried against one part, so that a deadline is met within milliseconds."""
N_PASSES = 10
MAX_EVALUATIONS = 100_000
"""Rows scored for one explanation, unless one pass over the background takes more."""
EXACT_FEATURES = 8
"""Up to here every combination of features is cheaper than the passes of sampling."""


class Method(Protocol):
    """One way to estimate contributions."""

    name: str
    n_passes: int

    def attribute(self, predict: Predict, row: Matrix, background: Matrix, seed: int) -> Attribution:
        """One estimate against a part of the background."""


class PermutationSampling:
    """A random order of the features and its reverse."""

    name = "permutation-sampling"

    def __init__(self, n_features: int) -> None:
        self.n_passes = _passes(n_features)

    def attribute(self, predict: Predict, row: Matrix, background: Matrix, seed: int) -> Attribution:
        """One antithetic pair of orders."""
        order = np.random.default_rng(seed).permutation(len(row))
        return attribute(predict, row, background, order.tolist())


class Shap:
    """Shap's model-agnostic explainers: exact for few features, else one antithetic pair of orders a call."""

    def __init__(self, n_features: int) -> None:
        import shap  # type: ignore[import-untyped]

        self._shap = shap
        self._is_exact = n_features <= EXACT_FEATURES
        self.name = "shap-exact" if self._is_exact else "shap-permutation"
        self.n_passes = 1 if self._is_exact else _passes(n_features)

    def attribute(self, predict: Predict, row: Matrix, background: Matrix, seed: int) -> Attribution:
        """Contributions against all of the given background."""
        explainers, masker = self._shap.explainers, self._shap.maskers.Independent(background, len(background))
        if self._is_exact:
            explained = explainers.Exact(predict, masker)(row[None], silent=True)
        else:
            explained = explainers.Permutation(predict, masker, seed=seed)(
                row[None], max_evals=2 * len(row) + 1, silent=True
            )
        contributions: Vector = np.asarray(explained.values[0], dtype=np.float64)
        return Attribution(float(np.ravel(explained.base_values)[0]), contributions, len(background))


def _passes(n_features: int) -> int:
    return max(1, min(N_PASSES, MAX_EVALUATIONS // (2 * n_features * N_BACKGROUND)))


class ChampionModel:
    """A bundle's encoding and model, and the parts of its background."""

    def __init__(self, folder: Path) -> None:
        self.bundle = Bundle.load(folder)
        reference = self.bundle.reference()
        sample = reference.sample(min(N_BACKGROUND, len(reference)), random_state=SEED)
        matrix, _ = self.bundle.encode_frame(sample)
        self.parts = np.array_split(matrix, min(N_PARTS, len(matrix)))
        self.n_evaluations = 0

    def predict(self, matrix: Any) -> Any:
        """Probabilities, counted."""
        self.n_evaluations += len(matrix)
        return self.bundle.predict(np.asarray(matrix, dtype=np.float32))


class Explanations:
    """Answers the worker's messages."""

    def __init__(self) -> None:
        self._is_shap_warm = False
        self._model = lru_cache(maxsize=1)(ChampionModel)

    def warm_up_shap(self) -> None:
        """Import shap and let it compile; afterwards it is the method."""
        rows = np.random.default_rng(SEED).normal(size=(2, EXACT_FEATURES + 1)).astype(np.float32)
        try:
            for n_features in (EXACT_FEATURES, EXACT_FEATURES + 1):
                part = rows[:, :n_features]
                Shap(n_features).attribute(lambda matrix: np.mean(matrix, axis=1), part[0], part, SEED)
        except Exception:
            LOGGER.exception("shap cannot be used; contributions are sampled without it")
        else:
            self._is_shap_warm = True

    def answer(self, message: bytes) -> bytes:
        """Contributions of every input of the bundle to one row's probability, or why there are none."""
        try:
            return orjson.dumps(self._explain(**orjson.loads(message)))
        except Exception as error:  # noqa: BLE001 - the worker tells the caller, and this process goes on
            return orjson.dumps({"error": f"{type(error).__name__}: {error}"})

    def _explain(self, bundle: str, values: dict[str, Any], budget_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + budget_s
        model = self._model(Path(bundle))
        model.n_evaluations = 0
        row = model.bundle.encode([values])[0][0]
        method = (Shap if self._is_shap_warm else PermutationSampling)(len(row))
        n_rounds = method.n_passes * len(model.parts)
        rounds: list[Attribution] = []
        for part in _rounds(method, model, row, n_rounds):
            rounds.append(part)
            if time.monotonic() >= deadline:
                break
        found = mean_attribution(rounds)
        return {
            "probability": float(model.bundle.predict(row[None])[0]),
            "base_value": found.base,
            "contributions": found.contributions.tolist(),
            "method": method.name,
            "n_evaluations": model.n_evaluations,
            "is_truncated": len(rounds) < n_rounds,
        }


def _rounds(method: Method, model: ChampionModel, row: Matrix, n_rounds: int) -> Iterator[Attribution]:
    for number in range(n_rounds):
        yield method.attribute(model.predict, row, model.parts[number % len(model.parts)], SEED + number)


def _receive(connection: Connection, messages: "queue.SimpleQueue[bytes]") -> NoReturn:
    """Pass messages on; when the worker is gone, however it went, end at once, even within a model's call."""
    while True:
        try:
            messages.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)


def main(arguments: list[str]) -> NoReturn:
    """Answer messages of the pipe whose descriptor is given, until the worker is gone or has long been silent.

    It ends without Python's own farewell, which a thread that compiles or computes would hold up.
    """
    os.nice(NICENESS)
    settings = with_packaged_use_case(load_settings())
    configure_logging(settings, "explain", settings.shadow_use_case)
    connection = Connection(int(arguments[0]))
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, messages), daemon=True).start()
    explanations = Explanations()
    connection.send_bytes(READY)
    if find_spec("shap") is not None:
        threading.Thread(target=explanations.warm_up_shap, daemon=True).start()
    while True:
        try:
            message = messages.get(timeout=IDLE_S)
        except queue.Empty:
            os._exit(0)
        connection.send_bytes(explanations.answer(message))


if __name__ == "__main__":
    main(sys.argv[1:])
