"""Commands that tell all of one version, and how versions came to serve.

Upstream: ``sources``. Downstream: people, and programs that read the JSON.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC

from shadow_platform.cli.models.printing import print_json, print_line, print_table
from shadow_platform.cli.models.sources import Versions
from shadow_platform.contracts.model_card import ModelCard, SegmentMetrics
from shadow_platform.contracts.version_words import estimate, fact, moment
from shadow_platform.contracts.versions import Scalar, VersionDetails, VersionSummary
from shadow_platform.domain.versions import CODE_TAGS

SEGMENT_METRICS = ("roc_auc", "log_loss", "calibration_error")
SHOWN_IMPORTANCES = 10
NO_CARD = "This bundle is older than model cards: intervals, segments and importances are not known."


def show_version(use_case: str, named: str, *, as_json: bool) -> None:
    """Print all that is kept of one version; raises ``BundleError`` after what the registry says of a broken one."""
    source = Versions(use_case)
    summary = source.summary(named)
    if as_json:
        details = source.details(summary)
        print_json({**details.model_dump(mode="json"), "paths": source.paths(details)})
        return
    _print_facts("version", _identity(summary))
    details = source.details(summary)
    card = details.card
    if card is None:
        print_line(NO_CARD)
        _print_facts("metrics of the evaluation window", details.manifest.metrics)
    else:
        _print_card(card)
    _print_facts("windows", dict(_windows(details)))
    _print_facts("parameters", _parameters(details))
    _print_facts("parity of ONNX and fitted model", details.manifest.parity.model_dump(mode="json"))
    _print_facts("fingerprints", details.manifest.fingerprints)
    tags = sorted(summary.tags.items())
    _print_facts("code", {name: text for name, text in tags if name in CODE_TAGS})
    _print_facts("tags", {name: text for name, text in tags if name not in CODE_TAGS})
    _print_facts("files", source.paths(details))


def show_history(use_case: str, named: str | None, alias: str | None, *, as_json: bool) -> None:
    """Print changes of aliases, oldest first."""
    source = Versions(use_case)
    version = None if named is None else source.number(named)
    rows = source.transitions(version, alias)
    if as_json:
        print_json(rows)
        return
    if not rows:
        changed = "an alias" if alias is None else f"alias {alias}"
        what = "no alias has changed" if version is None else f"no change of {changed} names version {version}"
        print_line(f"{what}: {source.looked_at}")
    for row in rows:
        before, after = row["from_version"] or "none", row["to_version"] or "none"
        print_line(
            f"{row['transitioned_at'][:19].replace('T', ' ')}  {row['alias']}: {before} to {after}, by {row['actor']}"
        )
        evidence = f" (evidence {row['evidence_id']})" if row["evidence_id"] else ""
        print_line(f"{row['reason']}{evidence}", indent=4)


def _print_facts(title: str, facts: "dict[str, Scalar] | dict[str, float] | dict[str, str]") -> None:
    print_table(title, (), [(name, fact(value)) for name, value in facts.items()])


def _identity(summary: VersionSummary) -> dict[str, Scalar]:
    as_of = summary.trained_as_of
    return {
        "use case": summary.use_case,
        "version": summary.version,
        "model": summary.model_name,
        "aliases": ", ".join(summary.aliases) or "none",
        "registered": f"{summary.created_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "trained as of": as_of.isoformat() if as_of else None,
        "bundle hash": summary.bundle_hash,
        "MLflow run": summary.run_id,
    }


def _print_card(card: ModelCard) -> None:
    groups = [segment for segment in card.segments if segment.feature is not None]
    for overall in (segment for segment in card.segments if segment.feature is None):
        rows = [(name, estimate(found)) for name, found in overall.metrics.items()]
        print_table(f"metrics on {overall.n} evaluation rows, {overall.n_positive} positive", ("metric", "value"), rows)
    print_table("segments", ("feature", "level", "rows", *SEGMENT_METRICS), [_segment(group) for group in groups])
    largest = card.importances[:SHOWN_IMPORTANCES]
    print_table(
        f"features that matter most, {len(largest)} of {len(card.features)}",
        ("feature", "log loss lost when shuffled"),
        [(importance.feature, estimate(importance.log_loss_increase)) for importance in largest],
    )
    print_table(
        "quality limits",
        ("limit", "outcome", "value", "limit", "rows", "reason"),
        [(c.name, c.outcome.value, fact(c.value), fact(c.limit), str(c.n), c.reason) for c in card.quality],
    )


def _segment(group: SegmentMetrics) -> Sequence[str]:
    values = [estimate(group.metrics.get(name)) for name in SEGMENT_METRICS]
    return group.feature or "", group.level or "", str(group.n), *values


def _windows(details: VersionDetails) -> Iterable[tuple[str, str]]:
    if details.card is None:
        manifest = details.manifest
        yield "fit", f"{manifest.n_train} rows"
        span = f"{moment(manifest.evaluation_start)} to {moment(manifest.evaluation_end)}"
        yield "evaluation", f"{span}, {manifest.n_evaluation} rows"
        return
    for part in details.card.parts:
        share = f", {part.n_positive / part.n:.1%} positive" if part.n else ""
        yield part.name, f"{moment(part.start)} to {moment(part.end)}, {part.n} rows{share}"


def _parameters(details: VersionDetails) -> dict[str, Scalar]:
    manifest = details.manifest
    own: dict[str, Scalar] = {"threshold": manifest.threshold, "seed": manifest.seed}
    return {**own, **manifest.parameters}
