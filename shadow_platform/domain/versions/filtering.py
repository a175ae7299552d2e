"""Which of many trained models are meant, and in which order.

Belongs here: filters and their written forms. Does not belong here: looking anything up. Upstream: summaries, options
of the command line. Downstream: ``shadow models list|search``.
"""

import math
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from shadow_platform.contracts.errors import ShadowPlatformError
from shadow_platform.contracts.versions import VersionSummary

MAX_DIGITS = 9
MAX_LISTED = 20
Status = Literal["registered", "archived"]
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
# Longer signs first, or ">=" would be read as ">" and a wrong number.
_METRIC_TEST = re.compile(rf"\s*(\w+)\s*({'|'.join(COMPARISONS)})\s*(\S+)\s*")
_AGO = re.compile(r"(\d+)([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_TIMES: Mapping[str, Callable[[VersionSummary], datetime | None]] = {
    "created_at": lambda version: version.created_at,
    "trained_as_of": lambda version: version.trained_as_of,
}


@dataclass(frozen=True, slots=True)
class MetricTest:
    """A metric held against a number; a model without the metric does not pass.

    >>> MetricTest("roc_auc", ">=", 0.75).holds({"roc_auc": 0.8})
    True
    """

    metric: str
    comparison: str
    limit: float

    def holds(self, metrics: Mapping[str, float]) -> bool:
        """Whether the metric is there and passes."""
        return self.metric in metrics and COMPARISONS[self.comparison](metrics[self.metric], self.limit)


@dataclass(frozen=True, slots=True)
class VersionFilter:
    """What a trained model must be; all of it must hold, and what is empty or ``None`` asks for nothing.

    Attributes:
        models: names of model families, one of which it must be.
        numbers: registry versions, one of which it must be.
        aliases: one of which must point to it.
        tags: names and values, all of which it must carry.
        since, until: of the time it was registered, or trained when it was archived; the end is exclusive.
        as_of_since, as_of_until: of ``trained_as_of``; the end is exclusive.
    """

    models: Collection[str] = ()
    numbers: Collection[str] = ()
    aliases: Collection[str] = ()
    tags: Collection[tuple[str, str]] = ()
    metrics: Sequence[MetricTest] = ()
    since: datetime | None = None
    until: datetime | None = None
    as_of_since: datetime | None = None
    as_of_until: datetime | None = None
    status: Status | None = None

    def accepts(self, version: VersionSummary) -> bool:
        """Whether all that is asked for holds."""
        return (
            (not self.models or version.model_name in self.models)
            and (not self.numbers or version.version in self.numbers)
            and (not self.aliases or bool(set(self.aliases) & set(version.aliases)))
            and all(version.tags.get(name) == value for name, value in self.tags)
            and all(test.holds(version.metrics) for test in self.metrics)
            and _is_within(version.created_at, self.since, self.until)
            and _is_within(version.trained_as_of, self.as_of_since, self.as_of_until)
            and (self.status is None or (version.version is None) == (self.status == "archived"))
        )


def matching(versions: Sequence[VersionSummary], asked: VersionFilter) -> list[VersionSummary]:
    """Those that the filter accepts, in the order given.

    Raises:
        ShadowPlatformError: a name that none of them has: rather a slip of the pen than a search without result.
    """
    named: Sequence[tuple[str, Iterable[str], Iterable[str]]] = (
        ("model", asked.models, (version.model_name for version in versions)),
        ("number", asked.numbers, (version.version for version in versions if version.version)),
        ("alias", asked.aliases, (alias for version in versions for alias in version.aliases)),
        ("tag", (name for name, _ in asked.tags), (name for version in versions for name in version.tags)),
        ("metric", (test.metric for test in asked.metrics), _metric_names(versions)),
    )
    for kind, names, known in named if versions else ():
        _require_known(kind, names, set(known))
    return [version for version in versions if asked.accepts(version)]


def in_order(versions: Sequence[VersionSummary], key: str, is_descending: bool) -> list[VersionSummary]:
    """Sorted by ``created_at``, ``trained_as_of`` or a metric; what lacks it comes last either way."""
    if key in _TIMES:
        values = {id(version): at.timestamp() for version in versions if (at := _TIMES[key](version)) is not None}
    else:
        values = {id(version): version.metrics[key] for version in versions if key in version.metrics}
        if versions:
            _require_known("metric", [key], {*_metric_names(versions), *_TIMES})
    there = [version for version in versions if id(version) in values]
    there.sort(key=lambda version: values[id(version)], reverse=is_descending)
    return there + [version for version in versions if id(version) not in values]


def parse_metric_test(text: str) -> MetricTest:
    """A comparison as people write it.

    >>> parse_metric_test("log_loss<0.4")
    MetricTest(metric='log_loss', comparison='<', limit=0.4)
    """
    found = _METRIC_TEST.fullmatch(text)
    try:
        if found is not None and math.isfinite(limit := float(found[3])):
            return MetricTest(found[1], found[2], limit)
    except ValueError:
        pass
    raise ShadowPlatformError(
        f"{text!r} compares no metric with a number; expected a name, one of {' '.join(COMPARISONS)} and a number; "
        "write for example 'roc_auc>=0.75', in quotes"
    )


def parse_number(text: str) -> str:
    """Number of a version, as the registry writes it.

    >>> parse_number("007")
    '7'
    """
    digits = text.strip()
    number = digits.lstrip("0")
    if not (digits.isascii() and digits.isdecimal() and 0 < len(number) <= MAX_DIGITS):
        raise ShadowPlatformError(
            f"{text!r} is no number of a version; expected 1, 2 and so on, with at most {MAX_DIGITS} digits; "
            "`shadow models list` shows them"
        )
    return number


def parse_tag(text: str) -> tuple[str, str]:
    """Name and value of a tag.

    >>> parse_tag("trigger=drift")
    ('trigger', 'drift')
    """
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise ShadowPlatformError(f"{text!r} is no tag; expected name=value; write for example trigger=drift")
    return name.strip(), value.strip()


def parse_sort(text: str) -> tuple[str, bool]:
    """What to sort by, and whether the largest comes first.

    >>> parse_sort("-roc_auc"), parse_sort("log_loss")
    (('roc_auc', True), ('log_loss', False))
    """
    key = text.removeprefix("-")
    if not re.fullmatch(r"\w+", key):
        raise ShadowPlatformError(
            f"{text!r} is nothing to sort by; expected {', '.join(_TIMES)} or a metric, with - before it for the "
            "largest first; write for example -roc_auc"
        )
    return key, text.startswith("-")


def parse_moment(text: str, now: datetime) -> datetime:
    """A time: a day or moment in ISO 8601 (UTC unless it says otherwise), or so long ago.

    >>> at = datetime(2024, 3, 10, tzinfo=UTC)
    >>> parse_moment("2024-03-01", at).isoformat(), parse_moment("7d", at).isoformat()
    ('2024-03-01T00:00:00+00:00', '2024-03-03T00:00:00+00:00')
    """
    try:
        if ago := _AGO.fullmatch(text.strip()):
            return now - int(ago[1]) * _UNITS[ago[2]]
        found = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise ShadowPlatformError(
            f"{text!r} is no time; expected ISO 8601 or a number of hours, days or weeks ago; write for example "
            "2024-03-01, 2024-03-01T12:00, 36h, 7d or 4w"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _is_within(at: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    if since is None and until is None:
        return True
    return at is not None and (since is None or at >= since) and (until is None or at < until)


def _metric_names(versions: Sequence[VersionSummary]) -> set[str]:
    return {name for version in versions for name in version.metrics}


def _require_known(kind: str, names: Iterable[str], known: Collection[str]) -> None:
    unknown = next((name for name in names if name not in known), None)
    if unknown is None:
        return
    # Names come from a store that others write to: as literals they cannot drive a terminal.
    listed = [repr(name) for name in sorted(known, key=lambda name: (name.isdecimal() and int(name), name))]
    shown, n_more = ", ".join(listed[:MAX_LISTED]) or "none at all", len(listed) - MAX_LISTED
    raise ShadowPlatformError(
        f"none of the models searched has the {kind} {unknown!r}, only {shown}{f' and {n_more} more' * (n_more > 0)}; "
        f"correct the {kind}, or leave it out"
    )
