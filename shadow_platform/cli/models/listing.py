"""Commands that find versions among many.

Upstream: ``sources``. Downstream: people, and programs that read the JSON.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from shadow_platform.cli.models.printing import KEY_METRICS, age, print_json, print_line, print_table
from shadow_platform.cli.models.sources import Versions
from shadow_platform.contracts.versions import VersionSummary
from shadow_platform.domain import versions


@dataclass(frozen=True, slots=True)
class SearchWords:
    """What a person typed; see ``domain.versions.VersionFilter``."""

    models: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    as_of_since: str | None = None
    as_of_until: str | None = None
    status: Literal["registered", "archived", "any"] = "registered"
    sort: str = "-created_at"

    def filter(self, now: datetime) -> versions.VersionFilter:
        """What is meant; raises ``ShadowPlatformError`` for what cannot be read."""

        def moment(text: str | None) -> datetime | None:
            return None if text is None else versions.parse_moment(text, now)

        return versions.VersionFilter(
            models=self.models,
            numbers=[versions.parse_number(text) for text in self.numbers],
            aliases=self.aliases,
            tags=[versions.parse_tag(text) for text in self.tags],
            metrics=[versions.parse_metric_test(text) for text in self.metrics],
            since=moment(self.since),
            until=moment(self.until),
            as_of_since=moment(self.as_of_since),
            as_of_until=moment(self.as_of_until),
            status=None if self.status == "any" else self.status,
        )


def list_versions(use_case: str, limit: int | None, *, archived: bool, as_json: bool) -> None:
    """Print the newest versions."""
    source = Versions(use_case)
    # One more than is shown tells whether there are more.
    found = source.registered(None if limit is None else limit + 1)
    if archived:
        found = versions.in_order([*found, *source.archived()], "created_at", is_descending=True)
    _print(source, found, limit, as_json)


def search_versions(use_case: str, words: SearchWords, limit: int, *, as_json: bool) -> None:
    """Print the versions that match, in the order asked for."""
    asked, (key, is_descending) = words.filter(datetime.now(UTC)), versions.parse_sort(words.sort)
    source = Versions(use_case)
    known = source.registered() if words.status != "archived" else []
    known += source.archived() if words.status != "registered" else []
    # Sorted before they are sifted: only among all of them a metric that nobody has is a slip of the pen.
    found = versions.matching(versions.in_order(known, key, is_descending), asked)
    _print(source, found, limit, as_json)


def _print(source: Versions, found: Sequence[VersionSummary], limit: int | None, as_json: bool) -> None:
    shown = found[:limit]
    if as_json:
        print_json(shown)
        return
    if not found:
        print_line(f"no version of {source.looked_at}")
        return
    metrics = [name for name in KEY_METRICS if any(name in version.metrics for version in shown)]
    now = datetime.now(UTC)
    rows = [_cells(version, metrics, now) for version in shown]
    columns = ("version", "model", "aliases", "age", *metrics)
    print_table(None, columns, rows, wrapped=("aliases",), n_optional=len(metrics))
    for version in shown:
        if version.archived_reason is not None:
            print_line(f"{_name(version)} was archived: {version.archived_reason}")
    if len(shown) < len(found):
        print_line(f"These are {len(shown)}, and there are more: --limit shows them.")


def _cells(version: VersionSummary, metrics: Sequence[str], now: datetime) -> list[str]:
    return [
        _name(version),
        version.model_name,
        ", ".join(version.aliases),
        age(version.created_at, now),
        *(f"{version.metrics[name]:.4f}" if name in version.metrics else "" for name in metrics),
    ]


def _name(version: VersionSummary) -> str:
    return version.version or f"run {version.run_id[:8]}"
