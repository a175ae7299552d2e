"""The page on alerts: every alert leads to a section that says what to do, and no section is about nothing."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from shadow_platform.adapters.lake import Lake
from shadow_platform.automation import alerts
from shadow_platform.contracts.alerts import AlertKind
from shadow_platform.contracts.layout import Layout
from shadow_platform.domain.alerts import SEVERITIES

NUMBERS = {7: "seven"}


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "alerts.md").read_text()


def test_every_kind_has_a_section_and_every_section_a_kind(page: str) -> None:
    kinds = page.partition("## Kinds\n")[2]

    assert re.findall(r"^### (.+)$", kinds, re.MULTILINE) == [kind.value for kind in AlertKind]


def test_every_section_says_what_to_do_first(page: str) -> None:
    sections = re.split(r"^### .+$", page, flags=re.MULTILINE)[1:]

    assert all(re.search(r"^1\. ", section, re.MULTILINE) for section in sections)


def test_the_table_of_severities_equals_the_code(page: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", page.partition("## Kinds\n")[2], re.MULTILINE)

    assert dict(rows) == {kind.value: severity.value for kind, severity in SEVERITIES.items()}


def test_the_waits_between_tries_equal_the_code(page: str) -> None:
    minutes = [int(alerts.wait(n) / timedelta(minutes=1)) for n in range(1, 9)]
    told = ", ".join(map(str, minutes[:5])) + f" and {minutes[5]} minutes, then every hour"

    assert minutes[6:] == [60, 60]
    assert told in " ".join(page.split())
    assert f"up to {NUMBERS[alerts.LOOKBACK.days]} days" in " ".join(page.split())


def test_the_query_of_unsent_alerts_runs(page: str, layout: Layout) -> None:
    (query,) = re.findall(r"```sql\n(.*?);\n```", page, re.DOTALL)

    assert list(Lake(layout).sql(query)) == ["occurred_at", "severity", "title", "n_tries", "error"]
