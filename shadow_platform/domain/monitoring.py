"""What the requests of a window looked like: scores, features, failures, and how many labels are due.

Belongs here: the summary behind ``GET /monitoring/stats``, from what serving logged alone. Does not belong here:
tailing the logs (``bento.answering.monitoring``), drift against a reference (``domain.drift``), true performance
(``domain.labels``). Pure: takes the time. Upstream: prediction and failure records. Downstream: the service.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from shadow_platform.contracts.records import FailureRecord, PredictionRecord, Variant
from shadow_platform.contracts.use_case import Exploration

QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}


class RequestSample(NamedTuple):
    """What is kept of one logged prediction: 20,000 of them take a tenth of the memory of the records.

    Attributes:
        missing: names of the imputed features.
        age_s: of the oldest online feature row used; ``None`` if none was.
    """

    logged_at: str
    requested_at: str
    variant: Variant
    model_version: str
    probability: float
    is_positive: bool
    latency_ms: float
    age_s: float | None
    missing: tuple[str, ...]
    is_explored: bool

    @classmethod
    def of(cls, record: PredictionRecord) -> "RequestSample":
        """The sample of a record."""
        return cls(
            record.logged_at,
            record.requested_at,
            record.variant,
            record.model_version,
            record.probability,
            record.prediction,
            record.latency_ms,
            record.feature_age_s,
            tuple(name for name, value in record.features.items() if value is None),
            record.is_explored,
        )


def summarise_requests(
    samples: Sequence[RequestSample],
    failures: Sequence[FailureRecord],
    features: Sequence[str],
    label_horizon: timedelta,
    now: datetime,
    exploration: Exploration | None = None,
) -> dict[str, Any]:
    """Counts, quantiles and rates of a window; ``None`` where there is nothing to measure, never a default number.

    Args:
        exploration: the use case's; ``None``: every decision is carried out.
    """
    models = sorted({(sample.variant, sample.model_version) for sample in samples})
    return {
        **_scores(samples),
        "latency_ms": _quantiles([sample.latency_ms for sample in samples]),
        "feature_age_s": _quantiles([sample.age_s for sample in samples if sample.age_s is not None]),
        "missing_feature_rates": _missing_rates(samples, features),
        "models": [
            {
                "variant": variant,
                "model_version": version,
                **_scores([s for s in samples if (s.variant, s.model_version) == (variant, version)]),
            }
            for variant, version in models
        ],
        "failures": dict(Counter(failure.reason for failure in failures)),
        "exploration": None if exploration is None else _explored(samples, exploration.share),
        "label_maturity": _maturity(samples, label_horizon, now),
    }


def _scores(samples: Sequence[RequestSample]) -> dict[str, Any]:
    return {
        "requests": len(samples),
        "positive_share": _share(sum(sample.is_positive for sample in samples), len(samples)),
        "score": _quantiles([sample.probability for sample in samples]),
    }


def _missing_rates(samples: Sequence[RequestSample], features: Sequence[str]) -> dict[str, float | None]:
    missing: Counter[str] = Counter()
    for names, n in Counter(sample.missing for sample in samples).items():
        missing.update(dict.fromkeys(names, n))
    return {name: _share(missing[name], len(samples)) for name in features}


def _explored(samples: Sequence[RequestSample], share: float) -> dict[str, Any]:
    n_explored = sum(sample.is_explored for sample in samples)
    n_positive = sum(sample.is_positive for sample in samples)
    return {"share": share, "explored": n_explored, "explored_share": _share(n_explored, n_positive)}


def _maturity(samples: Sequence[RequestSample], horizon: timedelta, now: datetime) -> dict[str, Any]:
    matured = sum(datetime.fromisoformat(sample.requested_at) + horizon <= now for sample in samples)
    return {
        "horizon_s": horizon.total_seconds(),
        "matured_requests": matured,
        "matured_share": _share(matured, len(samples)),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _quantiles(values: Sequence[float]) -> dict[str, float | None]:
    if not values:
        return dict.fromkeys(QUANTILES)
    return dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values())).tolist(), strict=True))
