"""Grafana's dashboards as tests see them: panels, their queries, and what Grafana replaces before it asks.

Belongs here: reading the files. Does not belong here: assertions, running queries. Downstream: tests of dashboards.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

RATE_INTERVAL = "1m"
"""Grafana's choice for a scrape interval of 15 s: four of them."""
LABEL_VALUES = re.compile(r"label_values\((?:(?P<selector>.+), )?(?P<label>\w+)\)")


@dataclass(frozen=True)
class Panel:
    """One panel that asks something."""

    path: Path
    document: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.path.stem}: {self.document['title']}"

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def expressions(self) -> list[str]:
        """Its queries as they stand in the file."""
        return [target["expr"] for target in self.document["targets"]]


@cache
def load(path: Path) -> dict[str, Any]:
    """A dashboard."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def panels(path: Path) -> Iterator[Panel]:
    """Panels of a dashboard; rows ask nothing."""
    for document in load(path)["panels"]:
        if document["type"] != "row":
            yield Panel(path, document)


def expressions(path: Path) -> Iterator[str]:
    """Every query of a dashboard."""
    for panel in panels(path):
        yield from panel.expressions


def substituted(expression: str, chosen: Mapping[str, str]) -> str:
    """The query that Grafana sends when these values are chosen; others are all.

    >>> substituted('rate(x{use_case=~"$use_case", job=~"$job"}[$__rate_interval])', {"use_case": "shop"})
    'rate(x{use_case=~"shop", job=~".*"}[1m])'
    """
    text = expression.replace("$__rate_interval", RATE_INTERVAL)
    return re.sub(r"\$\{?(\w+)\}?", lambda found: chosen.get(found[1], ".*"), text)


def variables(path: Path) -> dict[str, tuple[str, str]]:
    """Selector and label that each variable of a dashboard offers the values of."""
    found = {}
    for variable in load(path)["templating"]["list"]:
        if variable["type"] == "query":
            asked = LABEL_VALUES.fullmatch(variable["definition"])
            assert asked is not None, variable["definition"]
            found[variable["name"]] = (substituted(asked["selector"] or "", {}), asked["label"])
    return found
