"""Two versions side by side as one HTML page (jinja2) that needs no network and runs no script.

Belongs here: how a comparison looks. Does not belong here: what differs and what it is worth (``domain.versions``),
the pictures themselves. Upstream: a comparison, the pictures of both trainings. Downstream: ``shadow models compare``.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from shadow_platform.contracts.model_card import MetricEstimate
from shadow_platform.contracts.versions import MetricComparison, Scalar, VersionComparison, VersionSummary

TEMPLATES = Path(__file__).parent / "templates"
PICTURE_TITLES = {
    "reliability": "Reliability: are probabilities honest?",
    "roc": "ROC curve",
    "precision_recall": "Precision and recall",
    "gain": "Cumulative gain",
    "scores": "Distribution of probabilities",
    "importance": "Importance of features",
    "segments": "Metrics by segment",
}
SEGMENT_METRIC = "log_loss"
UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class Picture:
    """One kind of picture of both trainings; a source is ``None`` where the run does not hold it."""

    title: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class Bar:
    """An interval on a scale shared by both versions, percent of its width."""

    left: float
    width: float
    point: float


def comparison_html(
    comparison: VersionComparison, pictures_a: Mapping[str, bytes], pictures_b: Mapping[str, bytes]
) -> bytes:
    """Page of a comparison; the same comparison and pictures give the same bytes.

    Args:
        pictures_a: PNG pictures of the training of ``comparison.a`` by name.
    """
    page = _template().render(
        comparison=comparison,
        names=(_name(comparison.a), _name(comparison.b)),
        summaries=_summaries(comparison.a, comparison.b),
        differing=[feature for feature in comparison.features if feature.status != "same"],
        pictures=_pictures(pictures_a, pictures_b),
        segment_metric=SEGMENT_METRIC,
    )
    return page.encode()


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(estimate=_estimate, fact=_fact, bars=_bars, signed=_signed)
    return environment.get_template("comparison.html.jinja")


def _name(version: VersionSummary) -> str:
    return f"Version {version.version}"


def _summaries(a: VersionSummary, b: VersionSummary) -> list[tuple[str, str, str]]:
    def facts(version: VersionSummary) -> dict[str, str]:
        as_of = version.trained_as_of
        return {
            "Model": version.model_name,
            "Aliases": ", ".join(version.aliases) or "none",
            "Registered": f"{version.created_at:%Y-%m-%d %H:%M} UTC",
            "Trained as of": f"{as_of:%Y-%m-%d %H:%M} UTC" if as_of else UNKNOWN,
            "Bundle": version.bundle_hash or UNKNOWN,
            "MLflow run": version.run_id,
        }

    ours, theirs = facts(a), facts(b)
    return [(name, ours[name], theirs[name]) for name in ours]


def _pictures(a: Mapping[str, bytes], b: Mapping[str, bytes]) -> list[Picture]:
    names = [*PICTURE_TITLES, *sorted((set(a) | set(b)) - set(PICTURE_TITLES))]
    return [
        Picture(PICTURE_TITLES.get(name, name), _source(a.get(name)), _source(b.get(name)))
        for name in names
        if name in a or name in b
    ]


def _source(png: bytes | None) -> str | None:
    return None if png is None else f"data:image/png;base64,{b64encode(png).decode()}"


def _bars(metric: MetricComparison) -> Sequence[Bar] | None:
    """Intervals of both versions on one scale; ``None`` without intervals."""
    ends = [_ends(metric.a), _ends(metric.b)]
    known = [end for end in ends if end is not None]
    if len(known) < len(ends):
        return None
    lowest, highest = min(low for low, _, _ in known), max(high for _, _, high in known)
    span = (highest - lowest) or 1.0
    return [
        Bar(
            left=round(100 * (low - lowest) / span, 2),
            width=round(100 * (high - low) / span, 2),
            point=round(100 * (value - lowest) / span, 2),
        )
        for low, value, high in known
    ]


def _ends(found: MetricEstimate | None) -> tuple[float, float, float] | None:
    if found is None or found.low is None or found.high is None:
        return None
    return found.low, found.value, found.high


def _estimate(found: MetricEstimate | None) -> str:
    if found is None:
        return UNKNOWN
    has_interval = found.low is not None and found.high is not None
    return f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]" if has_interval else f"{found.value:.4f}"


def _fact(value: Scalar) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _signed(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:+.4f}"
