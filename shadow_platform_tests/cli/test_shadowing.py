"""Commands on the shadow: what they show and change, and replays by hand."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from shadow_platform.adapters.log import FileLogSource
from shadow_platform.cli import typer_app
from shadow_platform.contracts.errors import RegistryError, ShadowPlatformError
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.helpers import USE_CASE, comparisons, outcomes, wait_until
from shadow_platform_tests.bento.registered import FAILING, GOOD, SLOW, RegisteredShop
from shadow_platform_tests.bento.shadowed import has_each_once, lane_of, log, record

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> RegisteredShop:
    """Champion 1, challengers 2 and 3; making a registry takes seconds, so the tests share one."""
    made = RegisteredShop(tmp_path_factory.mktemp("shadowing"))
    for version in (SLOW, FAILING):
        made.change("add_challenger", version=version)
    return made


@pytest.fixture
def shadow(registered: RegisteredShop, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``shadow``; what it prints is in ``output``."""
    monkeypatch.setenv("SHADOW_HOME", str(registered.layout.home))
    monkeypatch.setenv("SHADOW_USE_CASE", shop.NAME)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(typer_app, [*arguments])

    return run


def policy(registered: RegisteredShop, version: str) -> tuple[float, float | None]:
    model = next(m for m in registered.manifest.challengers if m.version == version)
    return model.sample_rate, model.max_lag_s


def transitions(registered: RegisteredShop) -> list[dict[str, Any]]:
    """Rows of the audit trail, oldest first."""
    source = FileLogSource(registered.layout.log("transitions", USE_CASE))
    rows = [json.loads(line.payload) for line in source.read({})]
    return sorted(rows, key=lambda row: row["generation"])


def test_a_challengers_policy_is_changed_piece_by_piece_and_its_place_in_the_log_is_kept(
    registered: RegisteredShop, shadow: Command
) -> None:
    since = {m.version: m.since for m in registered.manifest.challengers}
    assert shadow("challengers", "set", FAILING, "--sample-rate", "0.5", "--max-lag", "60").exit_code == 0
    assert policy(registered, FAILING) == (0.5, 60.0)
    assert shadow("challengers", "set", FAILING, "--sample-rate", "0.25").exit_code == 0
    assert policy(registered, FAILING) == (0.25, 60.0)
    assert shadow("challengers", "set", FAILING, "--no-max-lag").exit_code == 0
    assert policy(registered, FAILING) == (0.25, None)
    assert {m.version: m.since for m in registered.manifest.challengers} == since
    refused = shadow("challengers", "set", GOOD, "--sample-rate", "0.5")
    assert isinstance(refused.exception, RegistryError)
    assert "not in the shadow" in str(refused.exception)


def test_a_sample_rate_that_the_gate_waits_for_ever_with_is_told(registered: RegisteredShop, shadow: Command) -> None:
    told = "the gate decides nothing on version 3 meanwhile: it wants 99% of the requests compared"
    few = shadow("challengers", "set", FAILING, "--sample-rate", "0.2").output
    assert told in few
    assert "`shadow replay 3` scores that later" in few
    assert told in shadow("challengers", "set", FAILING, "--max-lag", "60").output
    assert told not in shadow("challengers", "set", FAILING, "--sample-rate", "1").output


def test_a_version_is_taken_out_of_the_shadow_and_put_back_and_its_comparisons_stay(
    registered: RegisteredShop, shadow: Command
) -> None:
    model = next(m for m in registered.manifest.challengers if m.version == SLOW)
    with lane_of(registered.layout, model):
        log(registered.layout, [record(n, datetime.now(UTC)) for n in range(200, 203)])
        wait_until(lambda: len(comparisons(registered.layout, SLOW)) >= 3, "compared")
    kept = len(comparisons(registered.layout, SLOW))
    assert shadow("challengers", "remove", SLOW).exit_code == 2  # no reason, no change

    removed = shadow("challengers", "remove", SLOW, "--reason", "lags")
    again = shadow("challengers", "remove", SLOW, "--reason", "lags")
    put_back = shadow("challengers", "add", SLOW, "--reason", "it is quick now")

    assert removed.exit_code == put_back.exit_code == 0
    assert f"in the shadow: {FAILING}\n" in removed.output
    assert str(again.exception) == f"version {SLOW} is not in the shadow; there: {FAILING}"
    assert f"in the shadow: {SLOW}, {FAILING}\n" in put_back.output
    assert len(comparisons(registered.layout, SLOW)) == kept
    told = list(dict.fromkeys(row["reason"] for row in transitions(registered)))
    assert told[-2:] == ["lags", "it is quick now"]


def test_the_list_shows_what_each_challenger_made_of_the_traffic(registered: RegisteredShop, shadow: Command) -> None:
    model = next(m for m in registered.manifest.challengers if m.version == SLOW)
    before = len(comparisons(registered.layout, SLOW))
    with lane_of(registered.layout, model):
        log(registered.layout, [record(n, datetime.now(UTC)) for n in range(5)])
        wait_until(lambda: len(comparisons(registered.layout, SLOW)) == before + 5, "compared")
    text = shadow("challengers", "--window", "1h").output
    assert all(name in text for name in ("sample rate", "circuit", "0 waiting", "no shadow worker has reported yet"))


def test_a_period_is_replayed_with_a_version_that_is_not_deployed_as_challenger(
    registered: RegisteredShop, shadow: Command
) -> None:
    log(registered.layout, [record(n, datetime.now(UTC) - timedelta(hours=1)) for n in range(100, 148)])
    since, until = "2024-01-05T04:00:00", "2024-01-06T04:00:00"
    for expected in ({"sent": 24, "known": 0}, {"sent": 0, "known": 24}):
        done = shadow("replay", GOOD, "--from", since, "--to", until)
        assert done.exit_code == 0, done.output
        counts = json.loads(done.output.strip().splitlines()[-1])
        assert expected.items() <= counts.items()
    assert has_each_once(registered.layout, 24, GOOD)
    assert outcomes(registered.layout, GOOD) == {"compared": 24}


def test_a_replay_that_cannot_be_says_why_in_one_line(registered: RegisteredShop, shadow: Command) -> None:
    unknown = shadow("replay", "99")
    assert isinstance(unknown.exception, ShadowPlatformError)
    assert f"'99' of {USE_CASE} does not exist" in str(unknown.exception)
