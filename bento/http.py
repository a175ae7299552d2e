"""HTTP below the routes: bounded bodies, JSON with its limits, problem documents (RFC 9457), request ids, answers.

Upstream: callers. Downstream: ``bento.api.app``. Knows nothing of models or use cases.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson
import uuid_utils
from starlette.types import Receive, Scope, Send

from shadow_platform.contracts.errors import RequestError

MAX_BODY_BYTES = 1 << 20
BODY_TIMEOUT_S = 10.0
MAX_DEPTH = 32
"""Deepest nesting of a body; requests need three."""
MAX_ERRORS = 1000
"""Most field errors listed in one problem document; the rest is counted."""
REQUEST_ID = re.compile(rb"[\x20-\x7e]{1,128}")
LONG_INTEGER = 309
"""Digits from which on an integer may be infinite as a float; Python refuses to read very long ones exactly."""

Headers = list[tuple[bytes, bytes]]

TITLES = {
    "not-json": (400, "The body is not JSON"),
    "nested-too-deep": (400, "The body is nested too deeply"),
    "unauthenticated": (401, "The request carries no valid token"),
    "forbidden": (403, "The token does not allow this"),
    "not-found": (404, "There is no such route"),
    "method-not-allowed": (405, "The route does not take this method"),
    "body-timeout": (408, "The body did not arrive in time"),
    "body-too-large": (413, "The body is too large"),
    "invalid-request": (422, "The request does not meet the contract"),
    "too-many-requests": (429, "Too many requests are in flight"),
    "internal-error": (500, "The request could not be answered"),
    "not-ready": (503, "The service cannot answer yet"),
    "log-unavailable": (503, "The answer could not be logged"),
    "explanation-unavailable": (503, "The explanation is not ready in time"),
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

    def reply(self, request_id: bytes) -> Reply:
        """The problem document."""
        document: dict[str, Any] = {
            "type": f"urn:shadow-platform:problem:{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id.decode("ascii"),
        }
        if self.errors is not None:
            document["errors"] = self.errors[:MAX_ERRORS]
            if len(self.errors) > MAX_ERRORS:
                document["errors_left_out"] = len(self.errors) - MAX_ERRORS
        return Reply(orjson.dumps(document), self.status, b"application/problem+json", self.headers)


def json_reply(value: object) -> Reply:
    """A JSON document."""
    return Reply(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))


async def send_reply(send: Send, reply: Reply, request_id: bytes) -> None:
    """Answer with a complete body and the request's id."""
    headers = [
        (b"content-type", reply.media),
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-request-id", request_id),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """Request headers by name in lower case; of a repeated one the last."""
    return dict(scope["headers"])


def text_of(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    """Value of a header as text, ``None`` when absent."""
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def new_request_id() -> bytes:
    """UUIDv7 as text."""
    return str(uuid_utils.uuid7()).encode()


def request_id_of(headers: Mapping[bytes, bytes]) -> bytes:
    """The caller's ``X-Request-ID``, or a new one without it; raises ``RequestError`` when it cannot be echoed."""
    given = headers.get(b"x-request-id")
    if given is None:
        return new_request_id()
    if REQUEST_ID.fullmatch(given):
        return given
    message = f"has {len(given)} bytes; expected 1 to 128 printable ASCII characters"
    raise RequestError([{"field": "X-Request-ID", "message": message}])


async def read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    """The body; raises ``ProblemError`` 413 above the limit (before reading when announced) and 408 when it stalls."""
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        raise _too_large(announced.decode())
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
    """The value; raises ``ProblemError`` 400, and ``RequestError`` naming a key that an object has twice.

    ``NaN``, ``Infinity`` and numbers beyond any range are no JSON, or not to every parser, but frequent: they are let
    through, so that validation names their field.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _parse_leniently(body, error)
    # Every string and key has two quotes; more are escaped, or belong to a value that a second one of its key replaced.
    if body.count(b'"') != _count_quotes(value, MAX_DEPTH):
        _parse_leniently(body, None)
    return value


def _count_quotes(value: object, depth: int) -> int:
    if depth == 0:
        raise _too_deep()
    items: Iterable[Any]
    if isinstance(value, dict):
        n, items = 2 * len(value), value.values()
    elif isinstance(value, list):
        n, items = 0, value
    else:
        return 2 if isinstance(value, str) else 0
    for item in items:
        kind = type(item)
        if kind is str:
            n += 2
        elif kind is dict or kind is list:
            n += _count_quotes(item, depth - 1)
    return n


def _parse_leniently(body: bytes, error: orjson.JSONDecodeError | None) -> Any:
    try:
        value = json.loads(body.decode(), object_pairs_hook=_unique, parse_int=_parse_int)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except ValueError:
        raise ProblemError("not-json", f"{error}; send a JSON document in UTF-8") from None
    except RecursionError:
        raise _too_deep() from None
    _count_quotes(value, MAX_DEPTH)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = sorted(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
        raise RequestError([{"field": name[:80], "message": "is given more than once"} for name in twice])
    return value


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) < LONG_INTEGER else float(digits)


def _too_deep() -> ProblemError:
    return ProblemError("nested-too-deep", f"the body is nested deeper than {MAX_DEPTH} levels; send flat objects")
