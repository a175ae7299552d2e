"""Who may call what: bearer tokens with scopes, and the origins browsers may call from.

Belongs here: which route needs which scope, how tokens are read and compared, CORS. Does not belong here: what a route
does. Upstream: settings, request headers. Downstream: ``bento.api.app``, ``bento.api.openapi``, the start of the
service.

Tokens are kept and compared as digests, every one for every request, so that the time taken tells nothing about any.
"""

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from hmac import compare_digest

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from bento.http import REQUEST_ID, ProblemError, new_request_id
from shadow_platform.contracts.errors import SettingsError
from shadow_platform.settings import Settings

PREDICT = "predict"
SHADOW_READ = "shadow:read"

SCOPES: dict[str, tuple[str, ...]] = {
    "/predict": (PREDICT,),
    "/predict/single": (PREDICT,),
    "/predict/batch": (PREDICT,),
    "/explain": (PREDICT,),
    "/model": (PREDICT, SHADOW_READ),
    "/shadow/logs": (SHADOW_READ,),
    "/shadow/comparison": (SHADOW_READ,),
    "/monitoring/stats": (SHADOW_READ,),
}
"""Any one of these scopes opens the route; routes that are not named are open to everyone."""

ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,512}=*")
"""What RFC 6750 lets a token be, and long enough not to be guessed."""

Guard = Callable[[Mapping[bytes, bytes]], None]


class Access:
    """Tokens in force. Off in development without any; elsewhere, without tokens, nobody is let in."""

    def __init__(self, settings: Settings) -> None:
        given = {PREDICT: settings.predict_tokens, SHADOW_READ: settings.shadow_tokens}
        self._tokens = [
            (sha256(token.encode()).digest(), scope)
            for scope, secret in given.items()
            for token in _tokens(_name(scope), secret)
        ]
        self.is_off = settings.environment == "development" and not self._tokens

    def guard(self, path: str) -> Guard | None:
        """Check of one route's calls, which raises ``ProblemError`` 401 or 403; ``None`` where everyone may call."""
        accepted = SCOPES.get(path)
        if accepted is None or self.is_off:
            return None
        return lambda headers: self._check(headers, accepted)

    def _check(self, headers: Mapping[bytes, bytes], accepted: tuple[str, ...]) -> None:
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            detail = "the route needs a bearer token; send the header Authorization: Bearer <token>"
            raise ProblemError("unauthenticated", detail, headers=_challenge())
        offered = sha256(token.strip()).digest()
        granted = [scope for digest, scope in self._tokens if compare_digest(digest, offered)]
        if not granted:
            detail = "the token is unknown; send one that this service was started with"
            raise ProblemError("unauthenticated", detail, headers=_challenge('error="invalid_token"'))
        if not set(granted) & set(accepted):
            detail = f"the token has scope {', '.join(granted)}; the route needs {' or '.join(accepted)}"
            wanted = f'error="insufficient_scope", scope="{" ".join(accepted)}"'
            raise ProblemError("forbidden", detail, headers=_challenge(wanted))


def require_tokens(settings: Settings) -> None:
    """Raise ``SettingsError`` in one line when the service must not start with these tokens or origins."""
    for scope, secret in ((PREDICT, settings.predict_tokens), (SHADOW_READ, settings.shadow_tokens)):
        if not _tokens(_name(scope), secret) and settings.environment != "development":
            raise SettingsError(
                f"{_name(scope)} is not set; with ENVIRONMENT={settings.environment} it must hold at least one bearer "
                "token, or set ENVIRONMENT=development"
            )
    _origins(settings)


def authorization(settings: Settings, scope: str) -> dict[str, str]:
    """Header with a token of the scope, for the platform's own calls of its service; empty when there is none."""
    tokens = _tokens(_name(scope), settings.predict_tokens if scope == PREDICT else settings.shadow_tokens)
    return {"Authorization": f"Bearer {tokens[0]}"} if tokens else {}


def with_cors(settings: Settings, application: ASGIApp) -> ASGIApp:
    """The application itself, or behind the rules for browsers when ``CORS_ORIGINS`` names any."""
    origins = _origins(settings)
    if not origins:
        return application
    return Cors(
        application,
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=("Authorization", "Content-Type", "Idempotency-Key", "X-As-Of", "X-Request-ID"),
        expose_headers=("Retry-After", "X-Request-ID"),
    )


class Cors(CORSMiddleware):
    """Starlette's rules, and a request id on the answers that it gives itself."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer to the question a browser asks before a call."""
        response = super().preflight_response(request_headers)
        given = request_headers.get("x-request-id", "").encode("latin-1")
        response.headers["x-request-id"] = (given if REQUEST_ID.fullmatch(given) else new_request_id()).decode()
        return response


def _tokens(name: str, secret: SecretStr | None) -> list[str]:
    text = "" if secret is None else secret.get_secret_value()
    tokens = [token.strip() for token in text.split(",") if token.strip()]
    for place, token in enumerate(tokens, start=1):
        if not TOKEN.fullmatch(token):
            raise SettingsError(
                f"{name}: token {place} of {len(tokens)} has {len(token)} characters; expected 16 to 512 letters, "
                "digits or . _ ~ + / - and then any =, such as `openssl rand -base64 32` prints"
            )
    return tokens


def _origins(settings: Settings) -> list[str]:
    origins = [origin.strip() for origin in (settings.cors_origins or "").split(",") if origin.strip()]
    for origin in origins:
        if origin != "*" and not ORIGIN.fullmatch(origin):
            raise SettingsError(
                f"CORS_ORIGINS: {origin!r} is no origin; expected https://host or http://host:port without a path, or *"
            )
    return origins


def _name(scope: str) -> str:
    return "PREDICT_TOKENS" if scope == PREDICT else "SHADOW_TOKENS"


def _challenge(parameters: str = "") -> list[tuple[bytes, bytes]]:
    value = 'Bearer realm="shadow-platform"' + (f", {parameters}" if parameters else "")
    return [(b"www-authenticate", value.encode())]
