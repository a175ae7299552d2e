"""A version's lineage as a tree in the terminal.

Upstream: ``sources``, ``domain.versions``. Downstream: people, and programs that read the JSON.
"""

from shadow_platform.cli.models.printing import print_json, print_tree
from shadow_platform.cli.models.sources import Versions
from shadow_platform.domain import versions


def show_lineage(use_case: str, named: str, *, as_json: bool) -> None:
    """Print what a version comes from and what it led to."""
    source = Versions(use_case)
    summary = source.summary(named)
    version = str(summary.version)
    tree = versions.lineage(
        source.details(summary),
        source.run(summary),
        source.transitions(version),
        source.decisions(version),
        source.service(version),
    )
    if as_json:
        print_json(tree)
    else:
        print_tree(tree)
