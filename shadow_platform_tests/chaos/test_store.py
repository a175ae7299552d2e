"""What callers may rely on when the online feature store goes away in the middle of traffic, and comes back."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pandas as pd
import pytest

from bento.serve import free_port, running_service
from shadow_platform.adapters.feature_store import FeastStore
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests import tiny
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import body_of, deploy, settings_at, wait_until
from shadow_platform_tests.chaos.ledger import account, logged
from shadow_platform_tests.chaos.load import TIMEOUT_S, Load

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]

VISITOR = "visitor-01"
USE_CASE = tiny.USE_CASE.name


def body_with_visitor(index: int) -> dict[str, object]:
    """A request whose history comes from the store."""
    return {**body_of(index), "visitor_id": VISITOR}


@dataclass(frozen=True)
class StoreHome:
    """A service that reads features online, and the means to fill its store."""

    url: str
    layout: Layout
    repository: Path

    def fill(self, visits: float) -> None:
        """Make the store anew if need be, and write the visitor's row."""
        store = FeastStore(self.layout, self.repository / "feature_repo", tiny.USE_CASE)
        store.apply()
        now = datetime.now(UTC) - timedelta(seconds=1)
        row = {"visitor_id": VISITOR, "event_at": now, "created_at": now, "visits_7d": visits, "purchases_7d": 1.0}
        store.write_online("visitor_history", pd.DataFrame([row]))

    def files(self) -> list[Path]:
        """Files of the online store."""
        return [path for path in self.layout.feast.rglob("*") if path.is_file() and "online" in path.name]

    def served(self) -> float | None:
        """Visits that the last answer was given with; ``None`` when they were imputed."""
        answer = httpx.post(f"{self.url}/predict", json=body_with_visitor(1), timeout=TIMEOUT_S).json()
        (record,) = [r for r in logged(self.layout, USE_CASE) if r.request_id == answer["request_id"]]
        value = record.features["visits_7d"]
        assert value is None or isinstance(value, float)
        return value

    def status(self) -> str:
        """What readiness says."""
        return str(httpx.get(f"{self.url}/ready", timeout=TIMEOUT_S).json()["status"])

    def n_store_errors(self) -> float:
        """Requests that were counted as answered without the store."""
        text = httpx.get(f"{self.url}/metrics", timeout=TIMEOUT_S).text
        return sum(map(float, re.findall(r"^online_store_errors_total\S* (\S+)$", text, re.MULTILINE)))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreHome]:
    """A service of use case ``tiny`` beside a filled store."""
    repository = Path(__file__).parents[2]
    settings = settings_at(tmp_path_factory.mktemp("store"), feast_repo_path=repository / "feature_repo")
    layout = settings.layout
    deploy(layout, line_bundle(layout.bundles))
    layout.manifest("shop").rename(layout.manifest(USE_CASE))
    StoreHome("", layout, repository).fill(5.0)
    with running_service(settings, "shadow_platform_tests.tiny:USE_CASE", free_port(), shadow=False) as service:
        yield StoreHome(service.url, layout, repository)


def delete(files: list[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)  # SQLite removes those beside a database by itself


def replace_by_garbage(files: list[Path]) -> None:
    for file in files:
        garbage = file.with_suffix(".garbage")
        garbage.write_bytes(b"not a database" * 1000)
        garbage.replace(file)


def replace_by_a_folder(files: list[Path]) -> None:
    delete(files)
    for file in files:
        file.mkdir()


def clear(files: list[Path]) -> None:
    for file in files:
        if file.is_dir():
            file.rmdir()
        else:
            file.unlink(missing_ok=True)


@pytest.mark.parametrize("harm", [delete, replace_by_garbage, replace_by_a_folder])
def test_a_store_that_is_gone_is_imputed_counted_shown_and_used_again_when_it_is_back(
    home: StoreHome, harm: Callable[[list[Path]], None]
) -> None:
    home.fill(5.0)
    wait_until(lambda: home.served() == 5.0, "the store is used")
    files, counted, load = home.files(), home.n_store_errors(), Load(home.url, body_of=body_with_visitor)
    assert files
    with load.running():
        load.more_answers(50)
        harm(files)
        wait_until(lambda: home.served() is None, "features are imputed")
        wait_until(lambda: home.status() == "degraded", "readiness says so")
        load.more_answers(50)
        assert home.n_store_errors() > counted
        clear(files)
        home.fill(7.0)
        wait_until(lambda: home.served() == 7.0, "the store is used again")
        wait_until(lambda: home.status() == "ready", "readiness says so")
        load.more_answers(50)
    assert set(load.statuses) == {200}
    assert load.unreachable == []
    assert account(load, home.layout, USE_CASE).lost == set()


def test_a_store_that_is_locked_costs_no_answer(home: StoreHome) -> None:
    home.fill(9.0)
    wait_until(lambda: home.served() == 9.0, "the store is used")
    load, databases = Load(home.url, body_of=body_with_visitor), [path for path in home.files() if path.suffix == ".db"]
    assert databases
    with load.running():
        for file in databases:
            with closing(sqlite3.connect(file, timeout=TIMEOUT_S, isolation_level=None)) as writer:
                writer.execute("BEGIN EXCLUSIVE")
                load.more_answers(100)
                writer.execute("ROLLBACK")
        wait_until(lambda: home.served() == 9.0, "the store is used again")
    assert set(load.statuses) == {200}
    assert len(load.answers) >= 100
    assert account(load, home.layout, USE_CASE).lost == set()
