"""Looking at trained models: find some of many, put two side by side, follow one back to its data and on to its use.

Belongs here: what a filter means, what differs between two versions and what that is worth, what a version comes from.
Does not belong here: where versions are kept (``adapters.registry``), how they are shown (``cli.models``,
``adapters.pages``). Upstream: registry, bundles, frame records, tables. Downstream: ``shadow models``.
"""

from shadow_platform.domain.versions.comparing import compare
from shadow_platform.domain.versions.filtering import (
    MetricTest,
    VersionFilter,
    in_order,
    matching,
    parse_metric_test,
    parse_moment,
    parse_number,
    parse_sort,
    parse_tag,
)
from shadow_platform.domain.versions.lineage import CODE_TAGS, lineage
from shadow_platform.domain.versions.summaries import summary_of_experiment, summary_of_version

__all__ = [
    "CODE_TAGS",
    "MetricTest",
    "VersionFilter",
    "compare",
    "in_order",
    "lineage",
    "matching",
    "parse_metric_test",
    "parse_moment",
    "parse_number",
    "parse_sort",
    "parse_tag",
    "summary_of_experiment",
    "summary_of_version",
]
