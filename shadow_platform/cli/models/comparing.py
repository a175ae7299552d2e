"""Two versions side by side, in the terminal and as a page.

Upstream: ``sources``, ``domain.versions``. Downstream: people, and programs that read the JSON.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from shadow_platform.adapters.pages.comparison import comparison_html
from shadow_platform.cli.models.printing import print_json, print_line, print_table, short
from shadow_platform.cli.models.sources import Versions
from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.version_words import SEGMENT_METRIC, UNKNOWN, estimate, fact, moment, sameness
from shadow_platform.contracts.versions import (
    FeatureComparison,
    ImportanceComparison,
    MetricComparison,
    Pair,
    VersionComparison,
    VersionSummary,
)
from shadow_platform.domain import versions

SHOWN_IMPORTANCES = 10


def compare_versions(use_case: str, a: str, b: str, html: Path | None, *, as_json: bool) -> None:
    """Print what differs between two versions, and write it as a page if asked for."""
    source = Versions(use_case)
    one, other = source.summary(a), source.summary(b)
    comparison = versions.compare(source.details(one), source.details(other))
    if html is not None:
        _write(html, comparison_html(comparison, source.pictures(one), source.pictures(other)))
    if as_json:
        print_json(comparison)
        return
    _print(comparison)
    if html is not None:
        print_line(f"page with the plots of both: {html}")


def _write(path: Path, page: bytes) -> None:
    try:
        path.write_bytes(page)
    except OSError as error:
        raise ShadowPlatformError(f"{path} cannot be written ({error}); name a file in a folder that exists") from error


def _print(comparison: VersionComparison) -> None:
    one, other = f"version {comparison.a.version}", f"version {comparison.b.version}"
    print_table(None, (), [(one, _described(comparison.a)), (other, _described(comparison.b))])
    for note in comparison.notes:
        print_line(f"Note: {note}.")
    print_table(
        "metrics of the evaluation windows",
        ("metric", one, other, "difference", "better"),
        [
            (metric.name, estimate(metric.a), estimate(metric.b), _difference(metric), _better(metric, comparison))
            for metric in comparison.metrics
        ],
    )
    _print_segments(comparison, one, other)
    _print_features(comparison.features)
    for title, pairs in (
        ("settings", comparison.settings),
        ("parameters", comparison.parameters),
        ("data", comparison.data),
        ("fingerprints", comparison.fingerprints),
    ):
        print_table(title, (title, one, other, ""), [_pair(pair) for pair in pairs])
    shown = comparison.importances[:SHOWN_IMPORTANCES]
    title = f"log loss lost when a feature is shuffled, {len(shown)} of {len(comparison.importances)}"
    print_table(title, ("feature", one, other), [_importance(importance) for importance in shown])


def _described(version: VersionSummary) -> str:
    as_of = f"trained as of {moment(version.trained_as_of)}" if version.trained_as_of else ""
    return ", ".join(filter(None, (version.model_name, *version.aliases, as_of)))


def _print_segments(comparison: VersionComparison, one: str, other: str) -> None:
    rows = []
    for segment in comparison.segments:
        metric = next((found for found in segment.metrics if found.name == SEGMENT_METRIC), None)
        if metric is not None:
            counts = f"{fact(segment.n_a)} / {fact(segment.n_b)}"
            values = estimate(metric.a), estimate(metric.b), _better(metric, comparison)
            rows.append((segment.feature, segment.level, counts, *values))
    print_table(f"{SEGMENT_METRIC} by segment", ("feature", "level", "rows", one, other, "better"), rows)


def _print_features(features: Sequence[FeatureComparison]) -> None:
    rows = [
        (feature.name, feature.status, "; ".join(f"{c.name} {fact(c.a)} to {fact(c.b)}" for c in feature.changes))
        for feature in features
        if feature.status != "same"
    ]
    print_table("features that differ", ("feature", "how", "what"), rows)
    print_line(f"{len(features) - len(rows)} of {len(features)} features are the same in both.")


def _difference(metric: MetricComparison) -> str:
    return UNKNOWN if metric.difference is None else f"{metric.difference:+.4f}"


def _better(metric: MetricComparison, comparison: VersionComparison) -> str:
    """Which one, in words; a difference within overlapping intervals is said to be one."""
    if metric.better is None:
        return ""
    version = comparison.a.version if metric.better == "a" else comparison.b.version
    doubt = {True: ", intervals overlap", False: "", None: ", no interval"}[metric.has_overlap]
    return f"{version}{doubt}"


def _pair(pair: Pair) -> tuple[str, str, str, Text]:
    return (
        pair.name,
        fact(short(pair.a)),
        fact(short(pair.b)),
        Text(sameness(pair.is_same), "bold" if pair.is_same is False else "dim"),
    )


def _importance(importance: ImportanceComparison) -> tuple[str, str, str]:
    def ranked(rank: int | None, text: str) -> str:
        return UNKNOWN if rank is None else f"{rank}. {text}"

    return (
        importance.feature,
        ranked(importance.rank_a, estimate(importance.a)),
        ranked(importance.rank_b, estimate(importance.b)),
    )
