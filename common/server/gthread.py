"""gunicorn's threaded worker with our error responses: the worker for `WEB_WORKER=gthread`."""

from __future__ import annotations

import errno
import socket
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from common.api.service import MAX_BODY_BYTES
from common.api.waits import HAS_GONE
from common.server.connection import has_gone
from common.server.requests import mark_repeated_key, refuse


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Needs a buffering proxy in front (deploy/nginx.conf): a slow client holds one of its threads."""

    def load_wsgi(self) -> None:
        super().load_wsgi()
        application: Any = self.wsgi
        self.wsgi: Any = lambda environ, start_response: application(
            environ | {HAS_GONE: partial(has_gone, environ["gunicorn.socket"])}, start_response
        )

    def set_accept_enabled(self, enabled: bool) -> None:
        """When stopping, close the listeners. The port is then free, although requests are still processed."""
        super().set_accept_enabled(enabled)
        if not enabled and not (self.alive and self.is_parent_alive()):
            for listener in self.sockets:
                listener.close()

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Drop a request whose client left while it was queued, and announce where the connection ends after it."""
        if has_gone(conn.sock):
            raise ConnectionResetError(errno.ECONNRESET, "the client has gone")
        mark_repeated_key(req)
        if any(_may_be_too_large(name, value) for name, value in req.headers):
            req.force_close()
        if any(name == "CONTENT-LENGTH" and int(value) > MAX_BODY_BYTES for name, value in req.headers):
            req._expected_100_continue = False  # nobody will read the body
        return bool(super().handle_request(req, conn))

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        refuse(client, exc)


def _may_be_too_large(name: str, value: str) -> bool:
    """Whether the body may be left unread, so that the next request on the connection cannot be found.

    The application reads no larger body, and gunicorn skips less than 64 KB.
    """
    return name == "TRANSFER-ENCODING" or (name == "CONTENT-LENGTH" and int(value) >= MAX_BODY_BYTES)
