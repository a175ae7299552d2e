"""A version's lineage as a tree in the terminal.

Upstream: ``sources``, ``domain.versions``. Downstream: people, and programs that read the JSON.
"""

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from shadow_platform.cli.models.printing import fact, print_json
from shadow_platform.cli.models.sources import Versions
from shadow_platform.contracts.versions import LineageNode
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
        Console().print(_tree(tree))


def _tree(node: LineageNode) -> Tree:
    tree = Tree(Text.assemble((node.kind, "bold"), " ", node.name))
    for name, value in node.facts.items():
        tree.add(Text.assemble((f"{name}: ", "dim"), fact(value)))
    for child in node.children:
        tree.children.append(_tree(child))
    return tree
