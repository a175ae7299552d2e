"""What hidden labels do to an estimate and to the gate, against a known truth: about a minute on one core.

Run from the root of the repository: ``python -m benchmarks.censoring``. A positive decision hides its label unless it
is explored. Upstream: domain.estimation, domain.gates, the simulators' true probabilities. Downstream:
docs/fairness-and-hidden-labels.md, and the constants ``MIN_EXPLORED``, which rest on these figures.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from shadow_platform.contracts.use_case import UseCase
from shadow_platform.domain.estimation import Estimate, hajek, horvitz_thompson
from shadow_platform.domain.gates.clusters import Clusters
from shadow_platform.domain.gates.sequence import confidence_sequence, log_loss
from shadow_platform.use_cases import load_use_case

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

SHARES = (0.0, 0.01, 0.05, 0.10)
MODEL_NOISE = 0.5
ROWS, DRAWS, STREAMS = 20_000, 300, 300
DAYS, PER_DAY, MIN_CLUSTERS = 40, 200, 7
EXPLORED_BANDS = (0, 1, 2, 5, 10, 20, 50)


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of a simulated world: outcome, a model's answer and the threshold from which it decides positively."""

    label: Array
    score: Array
    threshold: float

    @property
    def positive(self) -> Flags:
        """Positive decisions."""
        return np.asarray(self.score >= self.threshold)

    @property
    def loss(self) -> Array:
        """Log loss of each request."""
        return log_loss(self.score, self.label)


def drawn(rng: np.random.Generator, n: int, mean: float = -3.0, threshold: float = 0.3) -> Requests:
    """Requests whose true logit is normal, and a model that errs on it."""
    truth = rng.normal(mean, 1.5, n)
    label = (rng.random(n) < expit(truth)).astype(np.float64)
    return Requests(label, expit(truth + MODEL_NOISE * rng.standard_normal(n)), threshold)


def of_product(use_case: UseCase, rng: np.random.Generator) -> Requests:
    """Every request of a product's simulator with its true outcome, hidden or not; the model errs on its true logit."""
    assert use_case.simulation is not None
    simulator = use_case.simulation.simulator()
    truth = simulator.bayes(simulator.first_day(), simulator.last_day())
    score = expit(logit(truth["probability"].to_numpy(np.float64)) + MODEL_NOISE * rng.standard_normal(len(truth)))
    return Requests(truth["label"].to_numpy(np.float64), score, use_case.answer.threshold)


def explored(requests: Requests, share: float, rng: np.random.Generator) -> tuple[Flags, Array]:
    """Whether each label is seen, and the probability of that."""
    positive = requests.positive
    return ~positive | (rng.random(len(positive)) < share), np.where(positive, share, 1.0)


def cell(estimates: list[Estimate], truth: float) -> str:
    """Error of the mean estimate, root mean squared error and coverage of the intervals."""
    known = [e for e in estimates if e.value is not None]
    if not known:
        return f"{'not identifiable':>32}"
    errors = np.array([e.value for e in known], dtype=np.float64) - truth
    held = np.mean([e.low is not None and e.high is not None and e.low <= truth <= e.high for e in known])
    return f"{errors.mean():>+12.5f}{np.sqrt(np.mean(errors**2)):>11.5f}{held:>9.2f}"


def print_estimates(name: str, worlds: Iterator[Requests], loss: float, rate: float, draws: int) -> None:
    """Errors of three estimates of the log loss, and of the naive base rate, by exploration share."""
    requests = [next(worlds) for _ in range(draws)]
    hidden = np.mean([r.positive.mean() for r in requests])
    print(f"\n{name}: log loss {loss:.4f}, base rate {rate:.4f}, {hidden:.1%} of the labels hidden, {draws} draws")
    print(f"{'':>9}{'labelled only':>16}{'Horvitz-Thompson':>32}{'Hajek':>32}{'base rate,':>16}")
    columns = f"{'error':>12}{'RMSE':>11}{'cover':>9}"
    print(f"{'explored':>9}{'error':>16}{columns}{columns}{'labelled only':>16}")
    for share in SHARES:
        rng, naive, naive_rate = np.random.default_rng(5), [], []
        means: list[list[Estimate]] = [[], []]
        for one in requests:
            seen, propensity = explored(one, share, rng)
            naive.append(float(one.loss[seen].mean()) - loss)
            naive_rate.append(float(one.label[seen].mean()) - rate)
            for found, estimator in zip(means, (horvitz_thompson, hajek), strict=True):
                found.append(estimator(one.loss, seen, propensity))
        cells = "".join(cell(found, loss) for found in means)
        print(f"{share:>9.0%}{np.mean(naive):>+16.5f}{cells}{np.mean(naive_rate):>+16.5f}")


def print_own(rng: np.random.Generator) -> None:
    """Estimates on streams of their own; the truth is that of two million requests."""
    population = drawn(np.random.default_rng(0), 2_000_000)
    streams = (drawn(rng, ROWS) for _ in range(DRAWS))
    name = f"Simulated requests, {ROWS:,} a draw"
    print_estimates(name, streams, float(population.loss.mean()), float(population.label.mean()), DRAWS)


def print_product(name: str, rng: np.random.Generator, draws: int = 40) -> None:
    """Estimates on the requests of a product; only what is explored is drawn anew."""
    requests = of_product(load_use_case(name), rng)
    same = (requests for _ in range(draws))
    title = f"Product {name}, {len(requests.label):,} requests"
    print_estimates(title, same, float(requests.loss.mean()), float(requests.label.mean()), draws)


def print_coverage(rng: np.random.Generator, draws: int = 5_000) -> None:
    """How often the interval holds the truth, by the number of explored requests it rests on."""
    truth = float(drawn(np.random.default_rng(0), 2_000_000).loss.mean())
    counts, held = [], []
    for _ in range(draws):
        one = drawn(rng, int(rng.choice([200, 600, 2_000, 6_000, 20_000])))
        seen, propensity = explored(one, 0.05, rng)
        found = horvitz_thompson(one.loss, seen, propensity)
        counts.append(int((seen & one.positive).sum()))
        held.append(found.low is not None and found.high is not None and found.low <= truth <= found.high)
    band, inside = np.digitize(counts, EXPLORED_BANDS) - 1, np.array(held)
    print(f"\nCoverage of the 95 % interval by explored requests ({draws:,} draws, 5 % explored)")
    for place, low in enumerate(EXPLORED_BANDS):
        rows = band == place
        print(f"{f'{low} and more':>12}{rows.sum():>8}{inside[rows].mean():>8.3f}")


def pairs(rng: np.random.Generator, mean: float, threshold: float, n: int, gain: float) -> tuple[Array, Flags]:
    """Log-loss gains of a challenger better where labels are seen and worse where they are hidden, and what is hidden.

    ``gain`` is added where labels are hidden, to make both models equal.
    """
    truth = rng.normal(mean, 1.5, n)
    label = (rng.random(n) < expit(truth)).astype(np.float64)
    is_high = expit(truth) >= threshold
    champion = expit(truth + np.where(is_high, 0.2, 0.8) * rng.standard_normal(n))
    challenger = expit(truth + np.where(is_high, 0.8, 0.2) * rng.standard_normal(n))
    hidden = champion >= threshold
    return log_loss(champion, label) - log_loss(challenger, label) + gain * hidden, hidden


def print_promotions(rng: np.random.Generator) -> None:
    """False promotions of a challenger that is equal overall, looking at every day's end."""
    print(f"\nEqual challenger, better where labels are seen: promoted within {DAYS} days of {PER_DAY} requests")
    print(f"{'hidden':>8}{'explored':>10}{'all labels':>12}{'labelled':>10}{'weighted':>10}", end="")
    needs = (5, 10, 20, 30)
    print("".join(f"{f'from {need}':>10}" for need in needs) + "   (explored requests needed)")
    day = np.arange(DAYS * PER_DAY) // PER_DAY
    for mean, threshold in ((-4.0, 0.3), (-3.0, 0.3), (-1.0, 0.5)):
        gains, hidden = pairs(rng, mean, threshold, 2_000_000, 0.0)
        level = -float(gains.mean() / hidden.mean())
        for share in SHARES[1:]:
            hits = np.zeros(3 + len(needs))
            for _ in range(STREAMS):
                gains, hidden = pairs(rng, mean, threshold, len(day), level)
                shown = hidden & (rng.random(len(day)) < share)
                weighted = np.where(hidden, shown / share, 1.0) * gains
                rich = np.cumsum(np.bincount(day, weights=shown))
                above = looks(weighted, day)
                found = [looks(gains, day).any(), looks(gains[~hidden], day[~hidden]).any(), above.any()]
                hits += np.array([*found, *((above & (rich >= need)).any() for need in needs)]) / STREAMS
            print(f"{hidden.mean():>8.1%}{share * hidden.sum():>10.0f}{hits[0]:>12.3f}", end="")
            print("".join(f"{hit:>10.3f}" for hit in hits[1:]))


def looks(gains: Array, day: NDArray[np.int64]) -> Flags:
    """Whether the gate's bound promotes at each day's end."""
    above = confidence_sequence(gains, Clusters(np.unique(day, return_inverse=True)[1])).lower > 0
    above[: MIN_CLUSTERS - 1] = False
    return np.asarray(above)


def print_selection(rng: np.random.Generator, n: int = 2_000_000) -> None:
    """Mean gain of a challenger that errs as the champion does, over what can be compared without exploration."""
    print("\nTwo models that err alike, no exploration: mean gain of the challenger, nats a request (0 is the truth)")
    print(f"{'base rate':>10}{'threshold':>11}{'labelled':>11}{'neither decides positively':>28}")
    for mean, threshold in ((-1.0, 0.5), (-3.0, 0.1), (-3.0, 0.3)):
        truth = rng.normal(mean, 1.5, n)
        label = (rng.random(n) < expit(truth)).astype(np.float64)
        champion, challenger = (expit(truth + 0.8 * rng.standard_normal(n)) for _ in range(2))
        gains, seen = log_loss(champion, label) - log_loss(challenger, label), champion < threshold
        both = seen & (challenger < threshold)
        print(f"{label.mean():>10.3f}{threshold:>11.1f}{gains[seen].mean():>+11.5f}{gains[both].mean():>+28.5f}")


def main() -> None:
    """Print every table and the seconds it took."""
    began, rng = time.perf_counter(), np.random.default_rng(1)
    print_own(rng)
    for name in ("fraud", "credit"):
        print_product(name, rng)
    print_coverage(rng)
    print_promotions(rng)
    print_selection(rng)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
