"""What a PromQL expression asks for: its series and their labels.

Belongs here: enough of the grammar for the expressions of this repository. Does not belong here: whether they are valid
(``promtool`` and Prometheus say so). Downstream: tests of rules and dashboards, which compare with the catalogue.
"""

import re
from dataclasses import dataclass

GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"(?<![\w:])([a-zA-Z_:][\w:]*)?\{([^}]*)\}")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
NAMES_IN_MATCHER = re.compile(r'__name__\s*=~?\s*"([^"]*)"')
NAME = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?![\w:])(?!\s*\()")
WORDS = {"and", "or", "unless", "offset", "bool", "by", "without", "on", "ignoring", "group_left", "group_right", "NaN"}
DURATION = re.compile(r"\boffset\s+\w+")


@dataclass(frozen=True)
class Asked:
    """Names in an expression.

    Attributes:
        series: names of series.
        matched: labels that selectors match on, with the series they are of (empty: any series).
        grouped: labels that aggregations and joins name.
    """

    series: frozenset[str]
    matched: frozenset[tuple[str, str]]
    grouped: frozenset[str]


def asked(expression: str) -> Asked:
    """The names in an expression.

    >>> found = asked('sum by (a) (rate(x_total{b="y{}", c=~"$z"}[5m])) / on (a) (lvl:x:rate1h offset 1h > 1e3)')
    >>> sorted(found.series), sorted(found.matched), sorted(found.grouped)
    (['lvl:x:rate1h', 'x_total'], [('x_total', 'b'), ('x_total', 'c')], ['a'])
    """
    listed = {name for names in NAMES_IN_MATCHER.findall(expression) for name in names.split("|")}
    text = re.sub(r'"[^"]*"', '""', expression)
    matched = {
        (name, label)
        for name, matchers in SELECTOR.findall(text)
        for label in MATCHER.findall(matchers)
        if label != "__name__"
    }
    grouped = {label.strip() for labels in GROUPING.findall(text) for label in labels.split(",") if label.strip()}
    for pattern in (r"\{[^}]*\}", r"\[[^\]]*\]", GROUPING, DURATION):
        text = re.sub(pattern, " ", text)
    return Asked(frozenset({*NAME.findall(text), *listed} - WORDS), frozenset(matched), frozenset(grouped))
