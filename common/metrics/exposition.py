"""The small HTTP server of `/metrics`: one thread, one request at a time, away from the requests of the process."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer
from typing import Any

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

PATH = "/metrics"
CLIENT_WITHIN_S = 5.0  # a scraper that is slower is cut off: the thread serves one at a time
LOOK_EVERY_S = 1.0
log = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket | None:
    """A socket that listens there. None, with an error in the log: it cannot, and the process works without metrics."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # because of TIME_WAIT after a restart
        listener.bind((host, port))
        listener.listen()
        listener.setblocking(False)  # other processes may accept the connection that this one was woken for
    except OSError as error:
        listener.close()
        log.error("no metrics: cannot listen on METRICS_PORT %d of %s: %s", port, host, error.strerror)
        return None
    return listener


def serve(listener: socket.socket, registry: Collector, look: Callable[[], None] = lambda: None) -> None:
    """Answer from a daemon thread, as long as the process lives.

    :param look: called about once a second
    """
    server = _Server(listener, registry, look)
    threading.Thread(target=server.serve_forever, args=(LOOK_EVERY_S,), name="metrics", daemon=True).start()


class _Server(BaseServer):
    """Serves a socket that it did not open, and that other processes may serve too."""

    def __init__(self, listener: socket.socket, registry: Collector, look: Callable[[], None]) -> None:
        super().__init__(listener.getsockname(), _Handler)
        self.registry, self._listener, self._look = registry, listener, look

    def fileno(self) -> int:
        return self._listener.fileno()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = self._listener.accept()
        connection.settimeout(CLIENT_WITHIN_S)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        request.close()

    def service_actions(self) -> None:
        try:
            self._look()
        except Exception:  # the next look may succeed
            log.debug("cannot look at the process", exc_info=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a scrape was broken off", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_WITHIN_S
    server: _Server

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self._answer(404, b"metrics are at /metrics\n", "text/plain")
            return
        try:
            text = generate_latest(self.server.registry)
        except Exception:  # a collector may raise anything; the scraper gets a 500
            log.warning("metrics cannot be collected", exc_info=True)
            self._answer(500, b"metrics cannot be collected; see the log\n", "text/plain")
            return
        self._answer(200, text, CONTENT_TYPE_PLAIN_0_0_4)

    def version_string(self) -> str:
        return "holdfast"

    def log_message(self, *_: object) -> None:
        """Scrapes are not logged."""

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
