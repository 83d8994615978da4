"""The double as a server. Its faults need this one: they close the connection under it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from stripe_double.app import create_app
from stripe_double.store import Object


class Quiet(WSGIRequestHandler):
    """Logs no requests."""

    def log(self, *_: Any) -> None:
        pass


def serve(file: Path, port: int = 0, seen: Callable[[str, int, Object], None] = lambda *_: None) -> BaseWSGIServer:
    """:param port: 0: any that is free"""
    return make_server("127.0.0.1", port, create_app(file, seen), threaded=True, request_handler=Quiet)
