"""The HTTP contract of a service with tokens and origins, as a stranger tries it: generated calls, browsers, tokens."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from bento.api.access import SCOPES
from bento.api.app import LINKS, POSTS
from bento.serve import RunningService, free_port, running_service
from shadow_platform_tests.bento import shop
from shadow_platform_tests.bento.bundles import line_bundle
from shadow_platform_tests.bento.helpers import body_of, deploy, settings_at, wait_until

pytestmark = pytest.mark.processes

CALLER, READER, BOTH = "caller-0123456789", "reader-0123456789", "both-0123456789ab"
HOOKS = "shadow_platform_tests.bento.schemathesis_hooks"
ORIGIN = "https://app.example"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with one token of each kind, which browsers may call from one origin."""
    settings = settings_at(
        tmp_path_factory.mktemp("guarded"),
        predict_tokens=SecretStr(f"{CALLER},{BOTH}"),
        shadow_tokens=SecretStr(f"{READER},{BOTH}"),
        cors_origins=ORIGIN,
    )
    layout = settings.layout
    deploy(layout, line_bundle(layout.bundles), {"2": line_bundle(layout.bundles, slope=0.03)})
    with running_service(settings, shop.NAME, free_port()) as running:
        yield running


@pytest.fixture
def client(service: RunningService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60.0) as opened:
        yield opened


def call(client: httpx.Client, path: str, token: str | None = None, **headers: str) -> httpx.Response:
    """A good call of a route."""
    allowed = {"authorization": f"Bearer {token}"} if token else {}
    body = None if path not in POSTS else [body_of(1)] if path.endswith("batch") else body_of(1)
    return client.request("GET" if body is None else "POST", path, json=body, headers={**allowed, **headers})


@pytest.mark.timeout(300)
def test_schemathesis_finds_nothing(
    service: RunningService, client: httpx.Client, repository: Path, tmp_path: Path
) -> None:
    wait_until(lambda: call(client, "/explain", CALLER).status_code == 200, "the explaining process has started")
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json", "--no-color"]
    options = ["--checks", "all", "--max-examples", "10", "--generation-deterministic"]
    done = subprocess.run(
        [*command, *options, "-H", f"Authorization: Bearer {BOTH}"],
        env={**os.environ, "PYTHONPATH": str(repository), "SCHEMATHESIS_HOOKS": HOOKS},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Operations:       15 selected / 15 total" in done.stdout


@pytest.mark.parametrize("path", ["/", *LINKS])
def test_every_route_answers_its_scopes_and_refuses_everybody_else(client: httpx.Client, path: str) -> None:
    accepted = SCOPES.get(path)
    for token, scope in ((CALLER, "predict"), (READER, "shadow:read"), ("nobody-0123456789", None), (None, None)):
        response = call(client, path, token)
        if accepted is None or scope in accepted:
            assert response.status_code == 200 or (path, response.status_code) == ("/explain", 503), response.text
        else:
            assert response.status_code == (401 if scope is None else 403)
            assert response.json()["type"].rpartition(":")[2] == ("unauthenticated" if scope is None else "forbidden")
            assert response.headers["www-authenticate"].startswith("Bearer ")


def test_no_token_appears_in_logs_errors_or_documents(service: RunningService, client: httpx.Client) -> None:
    texts = [call(client, path, CALLER, origin=ORIGIN).text for path in ("/", *LINKS, "/nowhere")]
    texts += [call(client, path, token).text for path in SCOPES for token in (READER, "nobody-0123456789")]
    texts.append(service.output.read_text(encoding="utf-8", errors="replace"))
    for token in (CALLER, READER, BOTH, "nobody-0123456789"):
        assert not [text for text in texts if token in text]


@pytest.mark.parametrize("path", ["/", *LINKS, "/nowhere", "/docs/assets/favicon.png"])
@pytest.mark.parametrize("token", [None, BOTH])
def test_a_request_id_comes_back_on_every_response(client: httpx.Client, path: str, token: str | None) -> None:
    for method in ("GET", "POST", "HEAD", "OPTIONS", "DELETE"):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        response = client.request(method, path, headers={**headers, "x-request-id": "my call/1"})
        assert response.headers["x-request-id"] == "my call/1"
        if response.headers["content-type"] == "application/problem+json" and method != "HEAD":
            assert response.json()["request_id"] == "my call/1"


def test_without_a_request_id_each_response_gets_one_of_its_own(client: httpx.Client) -> None:
    ids = [call(client, path).headers["x-request-id"] for path in ("/health", "/predict", "/nowhere", "/health")]
    assert len({*ids}) == 4
    assert all(len(one) == 36 and one[14] == "7" for one in ids)


@pytest.mark.parametrize("given", ["", "x" * 129, "a\tb", "é"])
def test_a_request_id_that_cannot_be_echoed_is_422(client: httpx.Client, given: str) -> None:
    response = client.get("/health", headers=[(b"x-request-id", given.encode("latin-1"))])
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "X-Request-ID"
    assert len(response.headers["x-request-id"]) == 36


def preflight(client: httpx.Client, origin: str, headers: str = "authorization,content-type") -> httpx.Response:
    """What a browser asks before it calls."""
    asked = {"access-control-request-method": "POST", "access-control-request-headers": headers}
    return client.options("/predict", headers={"origin": origin, **asked})


def test_a_browser_may_call_from_the_configured_origin_alone(client: httpx.Client) -> None:
    allowed = preflight(client, ORIGIN, "authorization,content-type,idempotency-key,x-as-of,x-request-id")
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert len(allowed.headers["x-request-id"]) == 36
    assert preflight(client, "https://evil.example").status_code == 400
    assert preflight(client, ORIGIN, "x-secret").status_code == 400


@pytest.mark.parametrize("path", ["/predict", "/health", "/nowhere"])
def test_answers_and_refusals_are_readable_from_the_configured_origin_alone(client: httpx.Client, path: str) -> None:
    for token in (CALLER, None):
        response = call(client, path, token, origin=ORIGIN)
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert "X-Request-ID" in response.headers["access-control-expose-headers"]
        assert "access-control-allow-origin" not in call(client, path, token, origin="https://evil.example").headers
        assert "access-control-allow-origin" not in call(client, path, token).headers
