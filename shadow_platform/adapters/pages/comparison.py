"""Two versions side by side as one page of HTML.

Belongs here: how a comparison looks. Does not belong here: what differs and what it is worth (``domain.versions``),
the pictures themselves. Upstream: a comparison, the pictures of both trainings. Downstream: ``shadow models compare``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Template

from shadow_platform.adapters.pages.rendering import PICTURE_TITLES, data_uri, page_template, picture_title
from shadow_platform.contracts.model_card import MetricEstimate
from shadow_platform.contracts.version_words import SEGMENT_METRIC, UNKNOWN, estimate, fact, moment, sameness
from shadow_platform.contracts.versions import MetricComparison, VersionComparison, VersionSummary


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
    filters: dict[str, Callable[..., object]] = {
        "bars": _bars,
        "estimate": estimate,
        "fact": fact,
        "sameness": sameness,
        "signed": lambda value: UNKNOWN if value is None else f"{value:+.4f}",
    }
    return page_template("comparison.html.jinja", filters)


def _name(version: VersionSummary) -> str:
    return f"Version {version.version}"


def _summaries(a: VersionSummary, b: VersionSummary) -> list[tuple[str, str, str]]:
    def facts(version: VersionSummary) -> dict[str, str]:
        as_of = version.trained_as_of
        return {
            "Model": version.model_name,
            "Aliases": ", ".join(version.aliases) or "none",
            "Registered": f"{moment(version.created_at)} UTC",
            "Trained as of": f"{moment(as_of)} UTC" if as_of else UNKNOWN,
            "Bundle": version.bundle_hash or UNKNOWN,
            "MLflow run": version.run_id,
        }

    ours, theirs = facts(a), facts(b)
    return [(name, ours[name], theirs[name]) for name in ours]


def _pictures(a: Mapping[str, bytes], b: Mapping[str, bytes]) -> list[Picture]:
    names = [*PICTURE_TITLES, *sorted((set(a) | set(b)) - set(PICTURE_TITLES))]
    return [
        Picture(picture_title(name), *(data_uri(side[name]) if name in side else None for side in (a, b)))
        for name in names
        if name in a or name in b
    ]


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
