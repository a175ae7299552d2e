"""``SERVE_ROLES``, ``SHADOW_SHARED`` and ``LOG_TRANSPORT``: what runs where, and which folder it looks into."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from bento.package import PACKAGE, seed_from_package
from bento.serve import GUARD, RELAY, SERVER, SHADOW, _parts, child_environment, free_port, running_service
from bento.shadowing.lane import Lane
from shadow_platform.adapters.deployment.journal import locked
from shadow_platform.contracts.errors import AlreadyRunning, SettingsError
from shadow_platform.contracts.layout import Layout
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import USE_CASE, deploy, settings_at, wait_until
from shadow_platform_tests.bento.shadowed import has_each_once, lane_of, log, model, record

KAFKA = {"log_transport": "kafka", "kafka_bootstrap_servers": "127.0.0.1:1"}


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({}, [SERVER, SHADOW, GUARD]),
        ({"serve_roles": "predictor"}, [SERVER]),
        ({"serve_roles": " guard , shadow,"}, [SHADOW, GUARD]),
        (KAFKA, [SERVER, SHADOW, GUARD, RELAY]),
        ({**KAFKA, "serve_roles": "predictor"}, [SERVER, RELAY]),
        ({**KAFKA, "serve_roles": "shadow,guard"}, [SHADOW, GUARD]),
    ],
)
def test_roles_say_what_runs_and_a_relay_runs_where_answers_are_logged(
    tmp_path: Path, values: dict[str, str], parts: list[str]
) -> None:
    assert _parts(settings_at(tmp_path, **values), shadow=True, guard=True) == parts


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"serve_roles": "predictor,shadows"}, r"SERVE_ROLES='predictor,shadows': expected one or more of predictor, "),
        ({"serve_roles": ","}, r"SERVE_ROLES=',': expected one or more"),
        ({"serve_roles": "shadow"}, r"SERVE_ROLES=shadow leaves nothing to run"),
        ({"log_transport": "kafka"}, r"LOG_TRANSPORT=kafka needs KAFKA_BOOTSTRAP_SERVERS"),
    ],
)
def test_roles_that_cannot_be_played_are_one_line(tmp_path: Path, values: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        _parts(settings_at(tmp_path, **values), shadow=False, guard=True)


def test_children_look_into_the_same_shared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_at(Path("own"), shadow_shared=Path("shared"))
    environment = child_environment(settings, shop.NAME, 8123, 1)
    assert (environment["SHADOW_HOME"], environment["SHADOW_SHARED"]) == (f"{tmp_path}/own", f"{tmp_path}/shared")
    assert "SHADOW_SHARED" not in child_environment(settings_at(tmp_path), shop.NAME, 8123, 1)


def test_what_decides_which_model_serves_is_shared_and_nothing_else(tmp_path: Path) -> None:
    own, shared = tmp_path / "own", tmp_path / "shared"
    layout, alone = Layout(own, shared), Layout(own)
    is_shared = {
        name: found.is_relative_to(shared)
        for name, found in {
            "manifest": layout.manifest("shop"),
            "rollout": layout.rollout("shop"),
            "bundles": layout.bundles,
            "deployment lock": layout.deployment_lock("shop"),
            "log": layout.log("predictions", "shop"),
            "workers": layout.worker_states("shop"),
            "answers": layout.idempotency("shop"),
            "progress": layout.shadow_progress("shop", "2"),
            "relay": layout.relay_progress("shop", "predictions"),
            "locks": layout.locks("any"),
        }.items()
    }
    assert [name for name, found in is_shared.items() if found] == ["manifest", "rollout", "bundles", "deployment lock"]
    assert alone.manifest("shop") == own / "serving" / "shop.json"
    assert alone.deployment_lock("shop") == own / "locks" / "deployment-shop.lock"


def test_two_machines_that_share_a_deployment_share_its_lock(tmp_path: Path) -> None:
    first, second = (Layout(tmp_path / name, tmp_path / "shared") for name in ("first", "second"))
    with (
        locked(first, USE_CASE, 1.0),
        pytest.raises(AlreadyRunning, match=r"changing the deployment of shop"),
        locked(second, USE_CASE, 0.1),
    ):
        pass


def test_a_packaged_deployment_is_not_put_into_a_shared_folder(tmp_path: Path) -> None:
    package = Layout(tmp_path / "image" / PACKAGE)
    deploy(package, line_bundle(package.bundles))
    shared, alone = Layout(tmp_path / "own", tmp_path / "shared"), Layout(tmp_path / "alone")
    for layout in (shared, alone):
        seed_from_package(layout, package.home)
    assert not shared.manifest(USE_CASE).exists()
    assert alone.manifest(USE_CASE).exists()


def test_a_challenger_that_left_waits_for_lines_that_land_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, now, asked, is_over = Layout(tmp_path), datetime.now(UTC), list[bool](), Lane._is_over

    def noted(lane: Lane) -> bool:
        asked.append(is_over(lane))
        return asked[-1]

    monkeypatch.setattr(Lane, "_is_over", noted)
    deployed = model(line_bundle(layout.bundles), since=now - timedelta(minutes=5))
    left_at = now - timedelta(minutes=1)
    with lane_of(layout, deployed, grace=timedelta(hours=1)) as lane:
        lane.retire(left_at)
        n_before = len(asked)
        wait_until(lambda: len(asked) > n_before + 1 or not lane.is_alive, "it has found nothing yet")
        log(layout, [record(1, left_at - timedelta(seconds=1)), record(2, left_at + timedelta(seconds=1))])
        assert lane.is_alive
        wait_until(lambda: has_each_once(layout, 1), "what was answered before it left")


@pytest.mark.processes
def test_a_shadow_worker_without_a_service_beside_it_exposes_its_own_metrics(tmp_path: Path) -> None:
    port = free_port()
    settings = settings_at(
        tmp_path, serve_roles="shadow,guard", environment="production", metrics_port=port, metrics_host="127.0.0.1"
    )
    layout = settings.layout
    deploy(layout, line_bundle(layout.bundles), {"2": line_bundle(layout.bundles, slope=0.03)})
    with running_service(settings, shop.NAME, free_port()) as service:
        pids = [service.shadow_pid, service.guard_pid]
        log(layout, [record(n, datetime.now(UTC)) for n in range(7)])

        def has_counted() -> bool:
            try:
                text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
            except httpx.TransportError:
                return False
            return 'shadow_predictions_total{challenger="2",outcome="compared"} 7.0' in text

        wait_until(has_counted, "seven comparisons are told")
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
