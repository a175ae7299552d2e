"""Who is let in, who is not, and that a service never starts open by mistake."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.applications import Starlette

from bento.api.access import PREDICT, SCOPES, SHADOW_READ, Access, authorization, require_tokens, with_cors
from bento.http import ProblemError
from shadow_platform.contracts.errors import SettingsError
from shadow_platform.settings import Settings
from shadow_platform_tests.bento import shop

READER, CALLER, BOTH = "reader-0123456789", "caller-0123456789", "both-scopes-012345=="
OPEN = ("/", "/health", "/ready", "/metrics", "/docs", "/redoc", "/openapi.json")


def settings(
    predict: str | None = f"{CALLER}, {BOTH}", shadow: str | None = f"{READER},{BOTH}", **values: str
) -> Settings:
    secrets = {"predict_tokens": predict and SecretStr(predict), "shadow_tokens": shadow and SecretStr(shadow)}
    return Settings.model_validate({"environment": "production", **secrets, **values})


def outcome(access: Access, path: str, headers: Mapping[bytes, bytes]) -> int:
    """Status of the refusal; 200: let in."""
    guard = access.guard(path)
    try:
        if guard is not None:
            guard(headers)
    except ProblemError as problem:
        return problem.status
    return 200


def bearer(token: str) -> dict[bytes, bytes]:
    return {b"authorization": f"Bearer {token}".encode()}


@pytest.mark.parametrize("path", [*SCOPES, *OPEN])
def test_every_route_is_open_to_its_scopes_alone(path: str) -> None:
    access, accepted = Access(settings()), SCOPES.get(path)
    for token, scopes in ((CALLER, {PREDICT}), (READER, {SHADOW_READ}), (BOTH, {PREDICT, SHADOW_READ})):
        expected = 200 if accepted is None or scopes & set(accepted) else 403
        assert outcome(access, path, bearer(token)) == expected
    nobody = 200 if accepted is None else 401
    assert outcome(access, path, {}) == outcome(access, path, bearer("unknown-0123456789")) == nobody


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        CALLER,
        f"Basic {CALLER}",
        f"Bearer {CALLER}x",
        f"Bearer {CALLER[:-1]}",
        f"Bearer{CALLER}",
    ],
)
def test_nothing_but_a_whole_token_in_its_scheme_lets_in(value: str) -> None:
    assert outcome(Access(settings()), "/predict", {b"authorization": value.encode()}) == 401


@given(st.binary(max_size=60))
def test_no_header_value_breaks_the_check_or_lets_in(value: bytes) -> None:
    assert outcome(Access(settings()), "/predict", {b"authorization": b"bearer " + value}) == 401


def test_a_refusal_says_how_to_be_let_in_and_no_token() -> None:
    guard = Access(settings()).guard("/predict")
    assert guard is not None
    for headers, expected in (({}, "Bearer realm="), (bearer("unknown-0123456789"), 'error="invalid_token"')):
        with pytest.raises(ProblemError) as caught:
            guard(headers)
        assert expected in dict(caught.value.headers)[b"www-authenticate"].decode()
        assert "0123456789" not in str(caught.value)
    with pytest.raises(ProblemError, match="scope shadow:read; the route needs predict") as caught:
        guard(bearer(READER))
    assert b'error="insufficient_scope", scope="predict"' in dict(caught.value.headers)[b"www-authenticate"]


@pytest.mark.parametrize(("scope", "path"), [(PREDICT, "/predict"), (SHADOW_READ, "/shadow/logs")])
def test_the_platforms_own_calls_are_let_in(scope: str, path: str) -> None:
    header = authorization(settings(), scope)["Authorization"].encode()
    assert outcome(Access(settings()), path, {b"authorization": header}) == 200
    assert authorization(settings(None, None), scope) == {}


def test_access_is_off_only_in_development_without_any_token() -> None:
    assert outcome(Access(settings(None, None, environment="development")), "/predict", {}) == 200
    for closed in (
        settings(None, READER, environment="development"),
        settings(None, None, environment="staging"),
        settings(None, None),
    ):
        assert outcome(Access(closed), "/predict", {}) == 401
        assert outcome(Access(closed), "/predict", bearer("")) == 401


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize(("predict", "shadow", "name"), [(None, READER, "PREDICT"), (CALLER, " , ", "SHADOW")])
def test_a_service_outside_development_does_not_start_without_tokens(
    environment: str, predict: str | None, shadow: str | None, name: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{name}_TOKENS is not set; with ENVIRONMENT={environment} [^\n]+$"):
        require_tokens(settings(predict, shadow, environment=environment))
    require_tokens(settings(predict, shadow, environment="development"))
    require_tokens(settings())


def test_the_service_ends_with_one_clear_line_when_it_must_not_start(repository: Path, tmp_path: Path) -> None:
    own = {"ENVIRONMENT": "production", "SHADOW_HOME": str(tmp_path), "SHADOW_USE_CASE": shop.NAME}
    done = subprocess.run(
        [sys.executable, "-c", "import bento.service"],
        env={**os.environ, **own, "PYTHONPATH": str(repository)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "PREDICT_TOKENS is not set; with ENVIRONMENT=production" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("token", ["short", "with blanks within it", "ümlaut-0123456789", "x" * 513])
def test_a_token_that_cannot_be_sent_or_can_be_guessed_is_named_by_its_place(token: str) -> None:
    bad = settings(f"{CALLER},{token}")
    with pytest.raises(SettingsError, match=r"^PREDICT_TOKENS: token 2 of 2 has ") as caught:
        require_tokens(bad)
    assert token not in str(caught.value)
    assert token not in repr(bad)


@pytest.mark.parametrize("origin", ["app.example", "https://app.example/path", "https://a b", "*.example", "null"])
def test_what_is_no_origin_stops_the_start(origin: str) -> None:
    with pytest.raises(SettingsError, match="is no origin"):
        require_tokens(settings(cors_origins=f"https://good.example,{origin}"))


@pytest.mark.parametrize("origin", ["https://app.example", "http://127.0.0.1:3000", "http://[::1]:8080", "*"])
def test_origins_are_taken_as_browsers_send_them(origin: str) -> None:
    require_tokens(settings(cors_origins=origin))


def test_without_origins_the_application_is_left_as_it_is() -> None:
    application = Starlette()
    assert with_cors(settings(), application) is application
