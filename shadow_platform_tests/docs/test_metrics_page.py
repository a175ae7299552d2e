"""docs/metrics.md says what the catalogue says, and its queries are ones that Prometheus understands."""

import re
from pathlib import Path

import pytest
import yaml

from shadow_platform.cli.metrics import DEFAULT_PORT
from shadow_platform.contracts.metrics import JOBS, METRICS, by_series, exposed_by
from shadow_platform.exporter.collector import SCRAPE_S
from shadow_platform.exporter.sources import REFRESH_S
from shadow_platform.exporter.tables import LABEL_DAYS
from shadow_platform_tests.deploy.prometheus_server import run_tool
from shadow_platform_tests.deploy.promql import asked

UNITS = {
    "ms": "milliseconds", "s": "seconds", "bytes": "bytes", "unix s": "seconds since 1970", "share": "share, 0 to 1",
    "0 or 1": "1 or 0", "nats": "nats", "count": "count", "": "always 1",
}  # fmt: skip


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "metrics.md").read_text()


@pytest.fixture
def queries(page: str) -> list[str]:
    return re.findall(r"```promql\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("exposer", JOBS)
def test_a_table_lists_every_metric_of_a_process_as_the_catalogue_does(page: str, exposer: str) -> None:
    section = page.partition(f"\n## {exposer.capitalize()}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]

    assert rows == [
        f"| `{metric.name}` | {metric.kind} | {UNITS[metric.unit]} | "
        f"{', '.join(f'`{label}`' for label in metric.labels) or 'none'} | {metric.help} |"
        for metric in METRICS
        if metric.exposer == exposer
    ]


def test_every_query_asks_for_series_and_labels_that_there_are(queries: list[str]) -> None:
    known, free = by_series(), {"use_case", "le", "instance"}
    assert len(queries) >= 10
    for query in queries:
        found = asked("\n".join(line for line in query.splitlines() if not line.startswith("#")))
        assert found.series <= set(known), query
        labels = {label for series in found.series for label in known[series].labels} | free
        assert found.grouped | {label for _, label in found.matched} <= labels, query


def test_prometheus_understands_every_query(queries: list[str], tmp_path: Path) -> None:
    rules = [{"record": f"page:query:{place}", "expr": query} for place, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "page", "rules": rules}]}))

    assert f"{len(queries)} rules found" in run_tool("promtool", "check", "rules", str(file))


def test_the_figures_of_the_exporter_equal_the_code(page: str) -> None:
    text = " ".join(page.split())

    assert f"`shadow metrics`, port {DEFAULT_PORT}" in text
    assert f"read again after {REFRESH_S:.0f} s" in text
    assert f"After {SCRAPE_S:.0f} s a scrape goes without" in text
    assert f"labels in the last {LABEL_DAYS}" in text
    assert {metric.job for metric in exposed_by(*JOBS)} <= set(re.findall(r"`(shadow-\w+)`", page))
