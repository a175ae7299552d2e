"""Scores each request with the model its subject drew: the champion, or the canary while one is in force.

Belongs here: one call of a model for all requests it answers, and the champion standing in for a canary that fails.
Does not belong here: who draws what (``domain.canary``), which models are loaded (``bento.answering.models``).
Upstream: complete features. Downstream: the predictor.

The champion answers in the event loop: a thread would cost more than the model does. The canary does not, so that a
slow or hanging one delays nobody but its own subjects, and those no longer than ``CANARY_TIMEOUT_S``.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from bento.answering.models import LoadedModel, Serving
from shadow_platform.adapters.bundle import Bundle, stoppable
from shadow_platform.contracts.records import Variant
from shadow_platform.domain.canary import propensity_of, variant_of
from shadow_platform.domain.serving import ModelOutput, ServedFeatures

CANARY_TIMEOUT_S = 1.0
MAX_CANARY_CALLS = 100
"""Most calls that wait for the canary's thread, or run in it."""


class ModelFailure(Exception):
    """A model gave no probability; the text says why."""


class Scores(NamedTuple):
    """What the models said.

    Attributes:
        outputs: one a request, in order.
        fallbacks: place of each request whose canary failed -> why.
    """

    outputs: Sequence[ModelOutput]
    fallbacks: Mapping[int, str]


class VariantScorer:
    """Scores requests with the models of a ``Serving``."""

    def __init__(self, canary_timeout_s: float = CANARY_TIMEOUT_S) -> None:
        self._canary = CanaryThread(canary_timeout_s)

    async def score(self, serving: Serving, subjects: Sequence[str], served: Sequence[ServedFeatures]) -> Scores:
        """An output for each request; raises ``ModelFailure`` when the champion fails.

        Where the champion stands in, the propensity is that of the canary, which was drawn.
        """
        champion = serving.champion
        if serving.canary is None:
            return Scores([_output(champion, p) for p in _by_champion(champion, served)], {})
        rollout, canary = serving.canary.rollout, serving.canary.model
        drawn = [variant_of(rollout, subject) for subject in subjects]
        chosen = [place for place, variant in enumerate(drawn) if variant == "canary"]
        said = await self._canary.ask(canary.bundle, [served[place] for place in chosen])
        fallbacks = {place: p for place, p in zip(chosen, said, strict=True) if isinstance(p, str)}
        outputs = {
            place: _output(canary, p, "canary", rollout.share)
            for place, p in zip(chosen, said, strict=True)
            if not isinstance(p, str)
        }
        rest = [place for place in range(len(served)) if place not in outputs]
        for place, p in zip(rest, _by_champion(champion, [served[place] for place in rest]), strict=True):
            propensity = propensity_of(rollout, drawn[place])
            outputs[place] = _output(champion, p, "champion", propensity, place in fallbacks)
        return Scores([outputs[place] for place in range(len(served))], fallbacks)


class CanaryThread:
    """Asks a canary in a thread of its own. A call that does not return costs the next ones nothing."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._bundle: Bundle | None = None
        self._pool = _thread()
        self._calls: list[Future[list[float]]] = []
        self._overdue: Future[list[float]] | None = None

    async def ask(self, bundle: Bundle, served: Sequence[ServedFeatures]) -> Sequence[float | str]:
        """For each request its probability, or why there is none."""
        if not served:
            return []
        if bundle is not self._bundle:
            self._pool.shutdown(wait=False)
            self._bundle, self._pool, self._calls, self._overdue = bundle, _thread(), [], None
        self._calls = [call for call in self._calls if not call.done()]
        if self._overdue in self._calls or len(self._calls) >= MAX_CANARY_CALLS:
            return ["an earlier call has not returned"] * len(served)
        options = stoppable()
        call = self._pool.submit(_probabilities, bundle, served, options)
        self._calls.append(call)
        try:
            probabilities = await asyncio.wait_for(asyncio.wrap_future(call), self._timeout_s)
        except TimeoutError:
            if bundle is self._bundle:
                self._overdue = next((other for other in self._calls if other.running()), None)
            return [f"no answer within {self._timeout_s * 1000:.0f} ms"] * len(served)
        except Exception as error:  # noqa: BLE001 - whatever a canary does, the caller gets an answer
            return [f"{type(error).__name__}: {error}"] * len(served)
        finally:
            options.terminate = True  # of use when nobody waits any more: too late, or the caller left
        return [p if 0.0 <= p <= 1.0 else f"gave {p}, no probability" for p in probabilities]


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="canary")


def _probabilities(bundle: Bundle, served: Sequence[ServedFeatures], run_options: Any = None) -> list[float]:
    matrix, _ = bundle.encode([features.values for features in served])
    probabilities: list[float] = bundle.predict(matrix, run_options).tolist()
    return probabilities


def _by_champion(model: LoadedModel, served: Sequence[ServedFeatures]) -> list[float]:
    if not served:
        return []
    try:
        probabilities = _probabilities(model.bundle, served)
    except Exception as error:
        raise ModelFailure(f"could not score: {type(error).__name__}: {error}") from error
    for p in probabilities:
        if not 0.0 <= p <= 1.0:
            raise ModelFailure(f"gave {p}, no probability")
    return probabilities


def _output(
    model: LoadedModel, p: float, variant: Variant = "champion", propensity: float = 1.0, is_fallback: bool = False
) -> ModelOutput:
    bundle = model.bundle
    return ModelOutput(
        p, bundle.manifest.threshold, model.deployed.version, bundle.hash, variant, propensity, is_fallback
    )
