"""A model card as files: JSON for programs, and one page of HTML for people.

Belongs here: how a card looks. Does not belong here: what it says (``domain.training``), the pictures themselves
(``adapters.pictures.training``). Upstream: training. Downstream: the bundle, MLflow.

The same card and pictures give the same bytes, because both files are part of the bundle's hash.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from functools import lru_cache
from typing import Any

from jinja2 import Template

from shadow_platform.adapters.pages.rendering import (
    data_uri,
    moment,
    number,
    page_template,
    percent,
    picture_title,
    words,
)
from shadow_platform.contracts.model_card import FeatureImportance, MetricEstimate, ModelCard

METRICS = {
    "roc_auc": ("ROC-AUC", "Chance that a positive row gets the higher probability of two; 0.5 is guessing"),
    "average_precision": ("Average precision", "Mean share of positives among the highest probabilities"),
    "log_loss": ("Log loss", "Mean surprise at the outcome, in nats a row; lower is better"),
    "log_loss_gain": ("Log-loss gain", "Nats a row by which it beats the constant base rate; 0 is no better"),
    "brier": ("Brier score", "Mean squared error of the probability; lower is better"),
    "calibration_error": ("Calibration error", "Mean distance of the probability from the observed share; 0 is honest"),
    "f1": ("F1", "Harmonic mean of precision and recall at the threshold"),
    "base_rate": ("Base rate", "Share of positive rows"),
}
HEADLINE = ("roc_auc", "log_loss_gain", "calibration_error", "base_rate")
BY_SEGMENT = ("roc_auc", "log_loss", "log_loss_gain", "calibration_error", "f1")


def card_json(card: ModelCard) -> bytes:
    """The card as JSON with sorted keys, which every program reads; ``ModelCard.model_validate_json`` gives it back.

    JSON knows neither NaN nor infinity (the parity of a model that gave no number): they become strings that are read
    as such again.
    """
    content = json.dumps(
        _finite(card.model_dump(mode="json")), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    return f"{content}\n".encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def card_html(card: ModelCard, pictures: Mapping[str, bytes]) -> bytes:
    """The card as one page.

    Args:
        pictures: PNG by name, in the order in which they are shown.
    """
    overall = next((segment for segment in card.segments if segment.feature is None), None)
    segments = [segment for segment in card.segments if segment.feature is not None]
    metrics = overall.metrics if overall else {}
    page = _template().render(
        card=card,
        overall=overall,
        headline=[(name, metrics[name]) for name in HEADLINE if name in metrics],
        segments=segments,
        segment_metrics=[name for name in BY_SEGMENT if any(name in segment.metrics for segment in segments)],
        importances={item.feature: item.log_loss_increase for item in card.importances},
        bars=_bars(card.importances),
        pictures=[(picture_title(name), data_uri(png)) for name, png in pictures.items()],
    )
    return page.encode()


@lru_cache(maxsize=1)
def _template() -> Template:
    filters: dict[str, Callable[..., object]] = {
        "alike": _alike,
        "count": lambda value: f"{value:,}",
        "day": lambda value: f"{value.astimezone(UTC):%Y-%m-%d}",
        "duration": _duration,
        "metric_meaning": lambda name: METRICS.get(name, ("", ""))[1],
        "metric_name": lambda name: METRICS.get(name, (words(name), ""))[0],
        "moment": moment,
        "number": number,
        "percent": percent,
    }
    return page_template("model_card.html.jinja", filters)


def _bars(importances: Sequence[FeatureImportance]) -> dict[str, str]:
    """Width of every importance's bar by feature, percent of the largest."""
    values = {item.feature: item.log_loss_increase.value for item in importances}
    largest = max(values.values(), default=0.0)
    return {name: f"{100 * max(value, 0.0) / largest:.0f}" for name, value in values.items() if largest > 0}


def _alike(metric: MetricEstimate) -> list[str]:
    """Value, and low and high if there are any, with as many decimals each as show three digits of the value."""
    size = abs(metric.value)
    decimals = min(max(2 - math.floor(math.log10(size)), 0), 5) if math.isfinite(size) and size > 0 else 3
    bounds = [] if metric.low is None or metric.high is None else [metric.low, metric.high]
    return [f"{value:,.{decimals}f}" for value in (metric.value, *bounds)]


def _duration(seconds: float) -> str:
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds >= length:
            count = seconds / length
            return f"{count:g} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"
