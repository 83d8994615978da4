"""The double as a server. Its faults need this one: they close the connection under it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from stripe_double.app import Seen, create_app
from stripe_double.events import Sender


class Quiet(WSGIRequestHandler):
    """Logs no requests."""

    def log(self, *_: Any) -> None:
        pass


class Server(ThreadedWSGIServer):
    """Serves requests, and sends webhooks meanwhile."""

    def __init__(self, file: Path, port: int, seen: Seen) -> None:
        self._sender = Sender(file)
        super().__init__("127.0.0.1", port, create_app(file, seen, self._sender.wake), handler=Quiet)

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        thread = threading.Thread(target=self._sender.run)
        thread.start()
        try:
            super().serve_forever(poll_interval)
        finally:
            self._sender.stop()
            thread.join()


def serve(file: Path, port: int = 0, seen: Seen = lambda *_: None) -> Server:
    """:param port: 0: any that is free"""
    return Server(file, port, seen)
