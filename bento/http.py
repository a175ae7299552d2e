"""HTTP below the routes: bounded bodies, JSON with its limits, problem documents (RFC 9457), plain ASGI answers.

Upstream: callers. Downstream: ``bento.app``. Knows nothing of models or use cases.
"""

import asyncio
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
from starlette.types import Receive, Scope, Send

from shadow_platform.contracts.errors import RequestError

MAX_BODY_BYTES = 1 << 20
BODY_TIMEOUT_S = 10.0
MAX_ERRORS = 1000
"""Most field errors listed in one problem document; the rest is counted."""

Headers = list[tuple[bytes, bytes]]

TITLES = {
    "not-json": (400, "The body is not JSON"),
    "not-found": (404, "There is no such route"),
    "method-not-allowed": (405, "The route does not take this method"),
    "body-timeout": (408, "The body did not arrive in time"),
    "body-too-large": (413, "The body is too large"),
    "invalid-request": (422, "The request does not meet the contract"),
    "too-many-requests": (429, "Too many requests are in flight"),
    "internal-error": (500, "The request could not be answered"),
    "not-ready": (503, "The service cannot answer yet"),
    "log-unavailable": (503, "The answer could not be logged"),
}


class Reply(NamedTuple):
    """A complete answer."""

    body: bytes
    status: int = 200
    media: bytes = b"application/json"
    headers: Headers = []


class ProblemError(Exception):
    """An answer other than the one asked for; ``slug`` is one of ``TITLES``."""

    def __init__(
        self, slug: str, detail: str, *, errors: list[dict[str, str]] | None = None, headers: Iterable[Any] = ()
    ) -> None:
        super().__init__(detail)
        self.slug = slug
        self.status, self.title = TITLES[slug]
        self.detail = detail
        self.errors = errors
        self.headers: Headers = list(headers)

    @classmethod
    def of_request(cls, error: RequestError) -> "ProblemError":
        """422 with every field error."""
        n = len(error.errors)
        return cls("invalid-request", f"{n} field error{'' if n == 1 else 's'}", errors=error.errors)

    def reply(self) -> Reply:
        """The problem document."""
        document: dict[str, Any] = {
            "type": f"urn:shadow-platform:problem:{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors is not None:
            document["errors"] = self.errors[:MAX_ERRORS]
            if len(self.errors) > MAX_ERRORS:
                document["errors_left_out"] = len(self.errors) - MAX_ERRORS
        return Reply(orjson.dumps(document), self.status, b"application/problem+json", self.headers)


def json_reply(value: object) -> Reply:
    """A JSON document."""
    return Reply(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))


async def send_reply(send: Send, reply: Reply) -> None:
    """Answer with a complete body."""
    headers = [(b"content-type", reply.media), (b"content-length", b"%d" % len(reply.body)), *reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def header(scope: Scope, name: bytes) -> str | None:
    """Value of a request header (name in lower case), ``None`` when absent."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return None


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The body; raises ``ProblemError`` 413 above the limit (before reading when announced) and 408 when it stalls."""
    announced = header(scope, b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        raise _too_large(announced)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ProblemError("body-timeout", "the caller closed the connection within the body")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    raise _too_large(f"at least {size}")
                if not message.get("more_body", False):
                    return chunk if not chunks else b"".join([*chunks, chunk])
                chunks.append(chunk)
    except TimeoutError:
        raise ProblemError("body-timeout", f"no complete body within {BODY_TIMEOUT_S:.0f} s; send it at once") from None


def _too_large(size: str) -> ProblemError:
    return ProblemError(
        "body-too-large",
        f"the body has {size} bytes; at most {MAX_BODY_BYTES} are read, send smaller batches",
        headers=[(b"connection", b"close")],
    )


def parse_json(body: bytes) -> Any:
    """The value; raises ``ProblemError`` 400.

    ``NaN`` and ``Infinity`` are no JSON, but frequent: they are let through, so that validation names their field.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        try:
            value = json.loads(body)
            orjson.dumps(value)
        except (ValueError, TypeError, RecursionError):
            raise ProblemError("not-json", f"{error}; send a JSON document in UTF-8") from None
        return value
