"""What the logs must say whatever happened: every acknowledged answer once, every prediction compared once.

Upstream: the logs of a service of use case ``shop``, callers' memory. Downstream: chaos tests, ``benchmarks.chaos``.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from bento.shadowing.offsets import shadow_root
from shadow_platform.adapters.bundle import Bundle
from shadow_platform.adapters.log import FileLogSource, decode_prediction, decode_shadow
from shadow_platform.contracts.deployment import DeployedModel
from shadow_platform.contracts.layout import Layout
from shadow_platform.contracts.records import PredictionRecord, ShadowRecord
from shadow_platform.domain.serving import rfc3339
from shadow_platform_tests.bento.helpers import USE_CASE, body_of
from shadow_platform_tests.chaos.load import Load

PERIOD = 260
"""``body_of`` repeats cart and channel after this many requests."""
OUTCOMES = {"compared", "failed", "dropped"}


def logged(layout: Layout, use_case: str = USE_CASE) -> list[PredictionRecord]:
    """Every line of the prediction log."""
    return [decode_prediction(line.payload) for line in FileLogSource(layout.log("predictions", use_case)).read({})]


def shadowed(layout: Layout, version: str) -> list[ShadowRecord]:
    """Every line of one challenger's shadow log."""
    return [decode_shadow(line.payload) for line in FileLogSource(shadow_root(layout, USE_CASE, version)).read({})]


@dataclass(frozen=True)
class Account:
    """How acknowledged answers and the prediction log agree; a sound service loses and doubles nothing."""

    acknowledged: int
    lost: set[str]
    doubled: set[str]


def account(load: Load, layout: Layout, use_case: str = USE_CASE) -> Account:
    """Compare what callers were told so far with what was logged; callers may go on meanwhile."""
    told = load.acknowledged
    in_log = Counter(record.request_id for record in logged(layout, use_case))
    return Account(len(told), set(told) - set(in_log), {request_id for request_id, n in in_log.items() if n > 1})


@dataclass(frozen=True)
class Conservation:
    """``sent = compared + failed + dropped`` of one challenger, with what breaks it."""

    sent: int
    outcomes: Counter[str]
    waiting: set[str]
    doubled: set[str]
    unsent: set[str]

    @property
    def is_complete(self) -> bool:
        """Whether nothing waits any more."""
        return not self.waiting

    @property
    def is_sound(self) -> bool:
        """Whether no prediction was compared twice, or compared without having been sent."""
        return not self.doubled and not self.unsent and self.outcomes.keys() <= OUTCOMES


def conservation(layout: Layout, challenger: DeployedModel) -> Conservation:
    """Balance of a challenger over everything logged since its deployment."""
    since = rfc3339(challenger.since)
    # Comparisons first: a prediction that is logged meanwhile waits, and no comparison lacks its prediction.
    comparisons = shadowed(layout, challenger.version)
    sent = {record.request_id for record in logged(layout) if record.logged_at >= since}
    records = Counter(record.request_id for record in comparisons)
    outcomes: Counter[str] = Counter(record.outcome for record in comparisons)
    doubled = {request_id for request_id, n in records.items() if n > 1}
    return Conservation(len(sent), outcomes, sent - records.keys(), doubled, records.keys() - sent)


def foreign_answers(load: Load, layout: Layout, models: Iterable[DeployedModel]) -> list[str]:
    """Answers whose probability is not what the version they name gives, each with the numbers."""
    requests = [{name: body_of(i)[name] for name in ("cart_value", "channel")} for i in range(PERIOD)]
    expected: dict[str, list[float]] = {}
    for model in models:
        bundle = Bundle.load(layout.bundles / model.bundle_hash)
        expected[model.version] = bundle.predict(bundle.encode(requests)[0]).tolist()
    return [
        f"{answer}, expected {wanted}"
        for answer in list(load.answers)
        if abs((wanted := expected[answer.version][answer.number % PERIOD]) - answer.probability) > 1e-6
    ]
