"""What a process exposes, read as Prometheus reads it.

Belongs here: one scrape and its values. Does not belong here: assertions, but that the text can be read. Downstream:
tests of metrics.
"""

from dataclasses import dataclass

import httpx
from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from shadow_platform.contracts.metrics import METRICS, Metric

OF_ANY_PROCESS = ("process_", "python_")


@dataclass(frozen=True)
class Scraped:
    """One scrape."""

    families: tuple[Family, ...]

    @classmethod
    def of(cls, text: str) -> "Scraped":
        return cls(tuple(text_string_to_metric_families(text)))

    @property
    def names(self) -> set[str]:
        """Metrics with at least one sample, named as in the catalogue."""
        return {_name(family) for family in self.families if family.samples}

    def values(self, series: str, **labels: str) -> list[float]:
        """Values of a series whose labels include some."""
        return [
            sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == series and labels.items() <= sample.labels.items()
        ]

    def total(self, series: str, **labels: str) -> float:
        """Sum of the values of a series; 0 without any."""
        return sum(self.values(series, **labels))

    def contradictions(self) -> list[str]:
        """What the catalogue says otherwise, in words; every process also tells of itself, its interpreter included."""
        known = {metric.name: metric for metric in METRICS}
        return [
            f"{name}: {wrong}"
            for family in self.families
            for name in [_name(family)]
            if not name.startswith(OF_ANY_PROCESS)
            for wrong in _wrong(family, known.get(name))
        ]


def scrape(url: str, path: str = "/metrics") -> Scraped:
    """Scrape over a new connection."""
    answer = httpx.get(f"{url}{path}", timeout=60.0, trust_env=False, verify=False)
    assert answer.status_code == 200, answer.text
    return Scraped.of(answer.text)


def _name(family: Family) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _wrong(family: Family, metric: Metric | None) -> list[str]:
    if metric is None:
        return ["not in the catalogue"]
    wrong = []
    if (family.type, family.documentation) != (metric.kind, metric.described):
        wrong.append(f"{family.type} {family.documentation!r}, expected {metric.kind} {metric.described!r}")
    labels = {name for sample in family.samples for name in sample.labels} - {"le"}
    if labels - set(metric.labels) or (family.samples and set(metric.labels) - labels):
        wrong.append(f"labels {sorted(labels)}, expected {sorted(metric.labels)}")
    bounds = {float(s.labels["le"]) for s in family.samples if s.name.endswith("_bucket")}
    if bounds and bounds != {*metric.buckets, float("inf")}:
        wrong.append(f"buckets {sorted(bounds)}, expected {metric.buckets}")
    return wrong
