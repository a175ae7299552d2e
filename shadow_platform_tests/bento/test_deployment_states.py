"""A service before its first model, in production, and served from a built Bento."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from pydantic import SecretStr

from bento.build import build_bento
from bento.package import seed_from_package, with_packaged_use_case
from bento.serve import ServiceError, child_environment, free_port, running_service
from shadow_platform.adapters.deployment import read_manifest
from shadow_platform.contracts.errors import BundleError
from shadow_platform.contracts.layout import Layout
from shadow_platform.settings import Settings
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import body_of, deploy, predictions, settings_at, wait_until

pytestmark = pytest.mark.processes


def test_a_service_without_a_model_says_so_and_answers_once_there_is_one(tmp_path: Path) -> None:
    """In production: the one place where a business time is refused."""
    token = SecretStr("a-token-of-both-scopes")
    settings = settings_at(tmp_path, environment="production", predict_tokens=token, shadow_tokens=token)
    layout = settings.layout
    authorization = {"Authorization": f"Bearer {token.get_secret_value()}"}
    with (
        running_service(settings, shop.NAME, free_port(), shadow=False, guard=False, wait_ready=False) as service,
        httpx.Client(base_url=service.url, timeout=60, headers=authorization) as client,
    ):
        for method, path in (("GET", "/ready"), ("POST", "/predict"), ("GET", "/model"), ("GET", "/shadow/logs")):
            response = client.request(method, path, json=body_of(1))
            assert response.status_code == 503
            assert response.json()["type"].endswith("not-ready")
            assert "run the job shop_train" in response.json()["detail"]
        assert client.get("/readyz").status_code == 503
        assert client.get("/health").status_code == 200
        counted = [line for line in client.get("/metrics").text.splitlines() if "prediction_errors_total{" in line]
        assert counted == ['prediction_errors_total{reason="not-ready"} 1.0'], "a probe is no failed prediction"
        deploy(layout, line_bundle(layout.bundles))
        wait_until(lambda: client.get("/ready").status_code == 200, "ready")
        assert client.get("/readyz").status_code == 200
        response = client.post("/predict", json=body_of(1), headers={"X-As-Of": "2024-01-01T00:00:00Z"})
        assert response.status_code == 422
        assert "refused in production" in response.json()["errors"][0]["message"]
        assert client.post("/predict", json=body_of(1)).status_code == 200
        with (
            pytest.raises(ServiceError, match=r"cannot be used.*set PORT"),
            running_service(settings, shop.NAME, int(service.url.rpartition(":")[2])),
        ):
            pass
    assert len(predictions(layout)) == 1


def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    with (
        pytest.raises(ServiceError, match="use case 'nothing' is unknown"),
        running_service(settings, "nothing", free_port()),
    ):
        pass


def built(layout: Layout) -> Path:
    """Folder of a built Bento of champion 1 and challenger 2."""
    deploy(layout, line_bundle(layout.bundles), {"2": line_bundle(layout.bundles, slope=0.03)})
    manifest = read_manifest(layout.manifest("shop"))
    assert manifest is not None
    tag = build_bento(layout, manifest, shop.NAME)
    assert build_bento(layout, manifest, shop.NAME) == tag
    name, _, version = tag.partition(":")
    return layout.bentos / "bentos" / name / version


def test_a_bento_answers_from_what_it_carries(tmp_path: Path) -> None:
    folder = built(Layout(tmp_path / "factory"))
    home, port = tmp_path / "elsewhere", free_port()
    environment = child_environment(settings_at(home), shop.NAME, port, 1)
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-m", "bentoml", "serve", str(folder), "--port", str(port), "--host", "127.0.0.1"]
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=output, stderr=output, start_new_session=True
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            wait_until(lambda: _is_ready(client), "the Bento is ready")
            model = client.get("/model").json()
            assert (model["champion"]["version"], model["challengers"][0]["version"]) == ("1", "2")
            assert client.post("/predict", json=body_of(1)).json()["model_version"] == "1"
        assert len(predictions(Layout(home))) == 1
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
        for member in psutil.wait_procs(family, timeout=30)[1]:
            with suppress(psutil.NoSuchProcess):
                member.kill()


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_a_packaged_deployment_never_replaces_a_newer_one(tmp_path: Path) -> None:
    package, layout = Layout(tmp_path / "packaged"), Layout(tmp_path / "home")
    deploy(package, line_bundle(package.bundles))
    seed_from_package(layout, package.home)
    deploy(layout, line_bundle(layout.bundles, slope=0.05), version="7")
    seed_from_package(layout, package.home)
    manifest = read_manifest(layout.manifest("shop"))
    assert manifest is not None
    assert (manifest.champion.version, manifest.generation) == ("7", 2)


def test_the_packaged_use_case_counts_unless_the_environment_names_one(tmp_path: Path) -> None:
    (tmp_path / "use_case").write_text("shop\n")
    assert with_packaged_use_case(Settings(), tmp_path).shadow_use_case == "shop"
    assert with_packaged_use_case(Settings(shadow_use_case="flights"), tmp_path).shadow_use_case == "flights"
    assert with_packaged_use_case(Settings(), tmp_path / "absent").shadow_use_case == Settings().shadow_use_case


def test_a_bento_without_its_bundles_is_not_built(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    deploy(layout, "0" * 64)
    manifest = read_manifest(layout.manifest("shop"))
    assert manifest is not None
    with pytest.raises(BundleError, match="is missing; fetch it from the registry"):
        build_bento(layout, manifest)
