"""gunicorn's threaded worker with our error responses: the worker for `WEB_WORKER=gthread`."""

from __future__ import annotations

import errno
import socket
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from common.api.waits import HAS_GONE
from common.server.connection import has_gone
from common.server.requests import prepare, refuse


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Needs a buffering proxy in front (deploy/nginx.conf): a slow client holds one of its threads."""

    def load_wsgi(self) -> None:
        super().load_wsgi()
        application: Any = self.wsgi
        self.wsgi: Any = lambda environ, start_response: application(
            environ | {HAS_GONE: partial(has_gone, environ["gunicorn.socket"])}, start_response
        )

    def handle_request(self, req: Any, conn: Any) -> bool:
        """Drop a request whose client left while it was queued. Close after chunks, whose length is unknown."""
        if has_gone(conn.sock):
            raise ConnectionResetError(errno.ECONNRESET, "the client has gone")
        prepare(req)
        if any(name == "TRANSFER-ENCODING" for name, _ in req.headers):
            req.force_close()
        return bool(super().handle_request(req, conn))

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        refuse(client, exc)
