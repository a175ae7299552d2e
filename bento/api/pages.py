"""Pages that show the OpenAPI document, Swagger UI at ``/docs`` and ReDoc at ``/redoc``, without internet access.

Belongs here: the two pages and the files they load, as ``fastapi_offline`` ships them. Does not belong here: the
document. Upstream: the use case's title. Downstream: ``bento.api.app``. The content security policy makes a browser
refuse whatever a page would load from elsewhere.
"""

import html
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from bento.http import Reply

ASSETS = {
    "/docs/assets/swagger-ui.css": b"text/css; charset=utf-8",
    "/docs/assets/swagger-ui-bundle.js": b"text/javascript; charset=utf-8",
    "/docs/assets/redoc.standalone.js": b"text/javascript; charset=utf-8",
    "/docs/assets/favicon.png": b"image/png",
}
"""Files of the pages, with their media types."""

SWAGGER = (
    "SwaggerUIBundle({url:'openapi.json',dom_id:'#page',validatorUrl:null,deepLinking:true,persistAuthorization:false})"
)
REDOC = "Redoc.init('openapi.json',{disableSearch:false,hideDownloadButton:false},document.getElementById('page'))"


def swagger_page(title: str) -> Reply:
    """Page on which a developer can try every route."""
    style = '<link rel="stylesheet" href="docs/assets/swagger-ui.css">'
    return _page(title, style, "docs/assets/swagger-ui-bundle.js", SWAGGER)


def redoc_page(title: str) -> Reply:
    """Page to read the contract on."""
    style = "<style>body{margin:0}</style>"
    return _page(title, style, "docs/assets/redoc.standalone.js", REDOC)


@lru_cache(maxsize=len(ASSETS))
def asset_reply(path: str) -> Reply:
    """One of ``ASSETS``; reads it from the disk once."""
    spec = find_spec("fastapi_offline")
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).parent / "static" / path.rpartition("/")[2]
    return Reply(file.read_bytes(), media=ASSETS[path], headers=[(b"cache-control", b"max-age=3600"), NO_SNIFF])


NO_SNIFF = (b"x-content-type-options", b"nosniff")


def _page(title: str, style: str, library: str, script: str) -> Reply:
    body = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="docs/assets/favicon.png">{style}</head>'
        f'<body><div id="page"></div><script src="{library}"></script><script>{script}</script></body></html>'
    )
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'self'; script-src 'self' 'sha256-{digest}'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; worker-src blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = [(b"content-security-policy", policy.encode()), NO_SNIFF]
    return Reply(body.encode(), media=b"text/html; charset=utf-8", headers=headers)
