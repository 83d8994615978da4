"""Serves the OpenAPI document, and a page that shows it."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

from common.api import headers
from common.api.routes import Api

STATIC = Path(__file__).parent / "static"
SCRIPT = STATIC / "rapidoc-min.js.gz"  # RapiDoc 9.3.8: 863 KB, compressed to 218 KB
DAY_S = 86_400

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="data:,"><script type="module" src="docs/rapidoc-min.js"></script>
<link rel="stylesheet" href="docs/page.css"></head>
<body><rapi-doc spec-url="openapi.json" render-style="read" show-header="false" load-fonts="false" theme="light"
 allow-spec-file-load="false" allow-spec-url-load="false" allow-server-selection="false"
 allow-authentication="true"
 use-path-in-nav-bar="true" show-method-in-nav-bar="as-colored-text" sort-endpoints-by="none" primary-color="#2f6f9f"
 nav-bg-color="#f3f5f7" nav-text-color="#33404d" nav-accent-color="#2f6f9f" schema-description-expanded="true"
 allow-search="false" allow-advanced-search="false"
 regular-font="system-ui, sans-serif" mono-font="ui-monospace, monospace"></rapi-doc>
<noscript>This page needs JavaScript. The same in text: <a href="openapi.json">openapi.json</a></noscript>
</body></html>
"""


def add_documentation(app: Flask, api: Api, spec: dict[str, Any]) -> None:
    text = json.dumps(spec)  # jsonify would sort it, and put /health before what the service is for
    page = PAGE.format(title=api.title)

    @app.get("/openapi.json")
    def openapi_json() -> Response:
        return _cacheable(Response(text, mimetype="application/json"))

    @app.get("/docs")
    def docs() -> Response:
        return _cacheable(Response(page, mimetype="text/html", headers=headers.PAGE))

    @app.get("/docs/page.css")
    def docs_style() -> Response:
        return _cacheable(Response((STATIC / "page.css").read_bytes(), mimetype="text/css"), max_age_s=DAY_S)

    @app.get("/docs/rapidoc-min.js")
    def docs_script() -> Response:
        return _script()


def _script() -> Response:
    compressed = _compressed_script()
    if request.accept_encodings.quality("gzip"):
        response = Response(compressed, mimetype="text/javascript", headers={"Content-Encoding": "gzip"})
    else:
        response = Response(gzip.decompress(compressed), mimetype="text/javascript")
    response.vary.add("Accept-Encoding")
    return _cacheable(response, max_age_s=DAY_S)


@cache
def _compressed_script() -> bytes:
    """Read once: every response of this process shares these bytes."""
    return SCRIPT.read_bytes()


def _cacheable(response: Response, max_age_s: int = 0) -> Response:
    """Nothing here is secret or personal. Without `max_age_s`, a cache asks each time whether the copy is current."""
    response.cache_control.public = True
    if max_age_s:
        response.cache_control.max_age = max_age_s
    else:
        response.cache_control.no_cache = True
    response.add_etag()
    response.make_conditional(request)
    return response
