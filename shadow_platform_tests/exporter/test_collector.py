"""A scrape shows every source that can be read, within its time, and reads each once for all who ask at once."""

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy.exc import DatabaseError

from shadow_platform.contracts import metrics
from shadow_platform.contracts.errors import LakeError
from shadow_platform.exporter import collector, readings
from shadow_platform.exporter.collector import PlatformCollector
from shadow_platform.exporter.readings import LOGGER, Lane, Reader, Sample
from shadow_platform_tests.scraped import Scraped


class Sources:
    """Readers that can be told to fail or to hang."""

    def __init__(self) -> None:
        self.reads, self._numbers = 0, count(1)
        self.fails, self.may_go_on = False, threading.Event()
        self.may_go_on.set()

    def drift(self) -> Iterable[Sample]:
        yield Sample(metrics.DRIFT_SCORE, 0.25, ("shop", "daily"))

    def gate(self) -> Iterable[Sample]:
        self.reads += 1
        yield Sample(metrics.GATE_DECISIONS, next(self._numbers), ("shop", "wait"))
        if self.fails:
            raise OSError("disk on fire")

    def runs(self) -> Iterable[Sample]:
        self.may_go_on.wait(60)
        yield Sample(metrics.DAGSTER_RUNS, 3, ("train", "SUCCESS"))

    def lanes(self, refresh_s: float, stale_s: float = 100.0) -> list[Lane]:
        tables = (Reader("gate", self.gate), Reader("drift", self.drift))
        dagster = (Reader("dagster_runs", self.runs),)
        return [Lane(tables, refresh_s, stale_s), Lane(dagster, refresh_s, stale_s)]


class Asked:
    """A registry that is scraped."""

    def __init__(self, lanes: list[Lane], scrape_s: float = 60.0) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(PlatformCollector(lanes, scrape_s))

    def scrape(self) -> Scraped:
        return Scraped.of(generate_latest(self._registry).decode())


@pytest.fixture
def sources() -> Sources:
    return Sources()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the exporter said; other threads may say something meanwhile."""
    return [record.getMessage() for record in caplog.records if record.name == LOGGER.name]


class Time:
    """Seconds that a test moves on, for those who look at the clock; waiting takes its time."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_everything_is_shown_as_the_catalogue_says(sources: Sources) -> None:
    found = Asked(sources.lanes(0.0)).scrape()

    assert found.contradictions() == []
    assert found.values("drift_score", use_case="shop", scope="daily") == [0.25]
    assert found.values("dagster_runs", job="train", status="SUCCESS") == [3]
    assert found.values("exporter_collect_failures_total") == [0, 0, 0]
    assert len(found.values("exporter_collect_duration_seconds")) == 3


def test_what_was_read_is_not_read_again_before_it_is_due(sources: Sources) -> None:
    kept, anew = Asked(sources.lanes(1000.0)), Asked(sources.lanes(0.0))

    assert [kept.scrape().values("gate_decisions") for _ in range(3)] == [[1], [1], [1]]
    assert [anew.scrape().values("gate_decisions") for _ in range(2)] == [[2], [3]]


def test_scrapes_at_once_read_once(sources: Sources) -> None:
    asked = Asked(sources.lanes(1000.0))
    with ThreadPoolExecutor(8) as scrapers:
        found = list(scrapers.map(lambda _: asked.scrape(), range(8)))

    assert sources.reads == 1
    assert {tuple(one.values("gate_decisions")) for one in found} == {(1.0,)}


def test_a_source_that_fails_is_counted_and_hides_no_other(sources: Sources, caplog: pytest.LogCaptureFixture) -> None:
    asked = Asked(sources.lanes(0.0))
    asked.scrape()
    sources.fails = True
    failing = [asked.scrape() for _ in range(3)]
    sources.fails = False
    healed = asked.scrape()

    assert [found.values("gate_decisions") for found in failing] == [[], [], []]
    assert [found.values("exporter_collect_failures_total", source="gate") for found in failing] == [[1], [2], [3]]
    assert all(found.values("drift_score") == [0.25] for found in failing)
    assert all(found.values("dagster_runs") == [3] for found in failing)
    assert healed.values("gate_decisions") == [5]
    (text,) = told(caplog)
    assert "disk on fire" in text


def test_the_words_of_a_source_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    def failing() -> Iterable[Sample]:
        raise DatabaseError("SELECT customer FROM runs", {"customer": "marker-4711"}, Exception("closed"))

    def refusing() -> Iterable[Sample]:
        raise LakeError("table 'drift' has no column 'day'; migrate")

    with caplog.at_level("INFO"):
        Asked([Lane((Reader("gate", failing), Reader("drift", refusing)), 0.0, 100.0)]).scrape()

    assert [text.endswith(("DatabaseError", "'day'; migrate")) for text in told(caplog)] == [True, True]
    assert "marker-4711" not in "".join(told(caplog))


def test_a_source_that_hangs_costs_a_scrape_its_time_and_no_more(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Time()
    for module in (collector, readings):
        monkeypatch.setattr(module, "time", clock)
    lanes = sources.lanes(0.0, stale_s=100.0)
    asked = Asked(lanes, scrape_s=1.0)
    asked.scrape()
    sources.may_go_on.clear()
    began = time.monotonic()
    first = asked.scrape()
    lasted = time.monotonic() - began
    clock.now += 99.0
    asked.scrape()
    clock.now += 2.0
    late = asked.scrape()
    sources.may_go_on.set()
    for lane in lanes:
        lane.wait(clock.now + 60.0)
    healed = asked.scrape()

    assert 0.9 < lasted < 20.0
    assert first.values("dagster_runs") == [3], "what was known stays for a while"
    assert late.values("dagster_runs") == [], "and not for ever"
    assert all(found.values("drift_score") == [0.25] for found in (first, late, healed))
    assert late.values("exporter_collect_failures_total", source="dagster_runs") == [1]
    assert healed.values("dagster_runs") == [3]
