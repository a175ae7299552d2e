"""The supervisor gives its children the settings it has, secrets included, and refuses to start without tokens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from bento.serve import GUARD, SERVER, SHADOW, child_environment, free_port, running_service
from shadow_platform.contracts.errors import SettingsError
from shadow_platform.settings import Settings
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.helpers import settings_at

TOKENS = {
    "predict_tokens": SecretStr("predict-token-0123456789"),
    "shadow_tokens": SecretStr("shadow-token-9876543210"),
}


def test_a_child_reads_the_settings_of_its_supervisor(tmp_path: Path) -> None:
    settings = settings_at(tmp_path, environment="staging", slo_p95_ms=12.5, cors_origins="https://a.example", **TOKENS)
    environment = child_environment(settings, shop.NAME, 8123, 3)
    script = (
        "from shadow_platform.settings import load_settings as load; s = load();"
        "print(s.model_copy(update={'shadow_home': s.shadow_home.resolve()}).model_dump_json(),"
        " s.predict_tokens.get_secret_value(), s.shadow_tokens.get_secret_value(), sep='|')"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.strip()
    expected = settings.model_copy(
        update={
            "shadow_home": settings.layout.home,
            "shadow_use_case": shop.NAME,
            "port": 8123,
            "feast_repo_path": settings.feast_repo_path.resolve(),
        }
    )
    text, predict, shadow = told.split("|")
    assert Settings.model_validate_json(text).model_dump() | TOKENS == expected.model_dump()
    assert (predict, shadow) == tuple(token.get_secret_value() for token in TOKENS.values())


def test_a_service_without_tokens_does_not_start_outside_development(tmp_path: Path) -> None:
    settings = settings_at(tmp_path, environment="production")
    with (
        pytest.raises(SettingsError, match=r"PREDICT_TOKENS is not set; with ENVIRONMENT=production it must"),
        running_service(settings, shop.NAME, free_port()),
    ):
        pass


@pytest.mark.processes
def test_a_service_has_its_shadow_worker_and_guard_beside_it_and_ends_them(tmp_path: Path) -> None:
    with running_service(settings_at(tmp_path), shop.NAME, free_port(), wait_ready=False) as service:
        assert [child.name for child in service.children] == [SERVER, SHADOW, GUARD]
        pids = [service.server_pid, service.shadow_pid, service.guard_pid, *service.worker_pids]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
