"""gunicorn's threaded worker, which gives a thread only to a request that has arrived in whole.

The worker of gunicorn gives each new connection a thread at once, which waits for the client to send. As many slow
clients as there are threads then keep everybody else out. Here the main loop looks at what has arrived, without
taking it, and hands the connection over when the request is complete. /health and /live have threads of their own:
they are answered also while all others wait for a database or a gateway that hangs.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import struct
import time
import uuid
from bisect import insort
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from typing import Any

from gunicorn import util
from gunicorn.http import errors as http_errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from common import errors, logs
from common.framing import MOST_BYTES, is_whole, unreadable, waits_for_leave
from common.idempotency import SENT_TWICE

REQUEST_WITHIN_S = 10.0  # a connection that has not sent a whole request in this time is closed
CLOSE_WITHIN_S = 2.0  # after its last answer, for the client to read it and to close
TRANSFER_WITHIN_S = 5  # a thread waits no longer for a client that takes in nothing of its answer, or sends nothing
HELD_AT_MOST_S = 60.0  # a connection is cut that has had a thread for longer: twice the longest `?wait=`
USUAL_BYTES = 8 * 1024  # of a request; the largest valid order has 5 KB
RECEIVE_BUFFER_BYTES = 256 * 1024  # so that the kernel takes in MOST_BYTES before anything is read
PROBE_THREADS = 8

PROBE = re.compile(rb"(GET|HEAD) /(health|live)[ ?]")
LEAVE = b"HTTP/1.1 100 Continue\r\n\r\n"
# What gunicorn refuses before a service sees it; all else that it cannot read is BrokenHttp.
REFUSALS = {
    http_errors.LimitRequestLine: errors.UriTooLong,
    http_errors.LimitRequestHeaders: errors.HeadersTooLarge,
    http_errors.ExpectationFailed: errors.ExpectationFailed,
}
OURS = (http_errors.InvalidResponseHeader, http_errors.InvalidResponseHeaderName)  # not the client's fault
log = logging.getLogger(__name__)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """`worker_class` in gunicorn.conf.py."""

    def init_process(self) -> None:
        for listener in self.sockets:  # what a listener has, its connections inherit
            listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            for limit in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                listener.sock.setsockopt(socket.SOL_SOCKET, limit, struct.pack("ll", TRANSFER_WITHIN_S, 0))
        self.probes = ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="probe")
        self.held_until: dict[TConn, float] = {}
        super().init_process()

    def enqueue_req(self, conn: TConn) -> None:
        """Give the connection to a thread, or wait for the rest of its request. Runs in the main loop."""
        read_ahead = conn.parser.unreader.buf.getvalue() if conn.parser else b""  # along with the last request
        seen, arrived = getattr(conn, "seen", -1), _peek(conn.sock)
        request = read_ahead + (arrived or b"")
        is_more = arrived is None or len(arrived) > seen  # else the client has hung up
        if is_more and (not is_whole(request) or (arrived is None and not read_ahead)):
            self._await_more(conn, len(arrived or b""), request)
            return
        if seen > 0:
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        conn.seen, conn.has_leave, conn.data_ready = -1, False, True
        self.held_until[conn] = time.monotonic() + HELD_AT_MOST_S
        pool = self.probes if PROBE.match(request) else self.tpool
        refusal = unreadable(request)
        future = pool.submit(self._refuse, conn, refusal) if refusal else pool.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def _refuse(self, conn: TConn, refusal: Exception) -> bool:
        self.handle_error(None, conn.sock, conn.client, refusal)
        return False

    def _await_more(self, conn: TConn, arrived: int, request: bytes) -> None:
        if getattr(conn, "seen", -1) < 0:
            conn.timeout = time.monotonic() + REQUEST_WITHIN_S
        if waits_for_leave(request) and not getattr(conn, "has_leave", False):
            conn.has_leave = True
            with suppress(OSError):  # it has gone, which the poller will tell
                util.write_nonblock(conn.sock, LEAVE)
        conn.seen = arrived
        # The kernel reports the socket again when there is more than we have seen, or the client has hung up.
        if arrived:
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, arrived + 1)
        insort(self.pending_conns, conn, key=lambda each: each.timeout)  # the first in it is the first to be closed
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def finish_request(self, conn: TConn, done: Future[Any]) -> None:
        """After the last answer, wait for the client to close, but not here, where everybody would wait with us."""
        self.held_until.pop(conn, None)
        if done.cancelled() or done.exception() or done.result() is not False:
            super().finish_request(conn, done)
            return
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client has gone
            self._close(conn)
            return
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + CLOSE_WITHIN_S
        insort(self.pending_conns, conn, key=lambda each: each.timeout)
        self.poller.register(conn.sock, EVENT_READ, partial(self._await_close, conn))

    def _await_close(self, conn: TConn, _: socket.socket) -> None:
        """Take in what it still sends: closed with something unread, the connection would lose our answer as well."""
        try:
            if conn.sock.recv(MOST_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            log.debug("the client is gone")
        self.poller.unregister(conn.sock)
        self.pending_conns.remove(conn)
        self._close(conn)

    def _close(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """Once a second: close what has been waited for too long, and cut what has held a thread for too long."""
        super().murder_pending()
        now = time.monotonic()
        for conn, limit in self.held_until.items():
            if now > limit:
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

    def _cap_keepalive(self, deadline: float) -> None:
        """When stopping, do not wait longer for a connection that has not sent its request than for an idle one.

        And let go of the port at once: as long as the last worker has it, new callers hang, and nobody can take it.
        """
        for listener in self.sockets:
            listener.close()
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def handle_request(self, req: Any, conn: TConn) -> bool:
        """Mark an Idempotency-Key that came twice, before WSGI joins the two with a comma, which a key may have."""
        if [name for name, _ in req.headers].count("IDEMPOTENCY-KEY") > 1:
            req.headers.append(("IDEMPOTENCY-KEY", SENT_TWICE))
        return bool(super().handle_request(req, conn))

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Refuse in the shape of all errors what is no HTTP. Not a word of it is repeated: it may be secret."""
        before = logs.request_id.set(str(uuid.uuid4()))
        try:
            if isinstance(exc, http_errors.ParseException) and not isinstance(exc, OURS):
                refusal = REFUSALS.get(type(exc), errors.BrokenHttp)()
                log.warning("refused with %s: %s", refusal.status, type(exc).__name__)
            else:
                refusal = errors.ApiError()
                log.error("a request could not be answered", exc_info=exc)
            util.write_nonblock(client, as_http(refusal))
        except OSError:
            log.debug("the client is gone")
        finally:
            logs.request_id.reset(before)


def as_http(error: errors.ApiError) -> bytes:
    """A whole answer, after which the connection is closed."""
    body = error.body()
    text = json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\nX-Request-ID: {body['request_id']}\r\n\r\n"
    )
    return head.encode() + text


def _peek(sock: socket.socket) -> bytes | None:
    """What has arrived and was not read; None: nothing yet; empty: the client hung up."""
    how = socket.MSG_PEEK | socket.MSG_DONTWAIT
    try:
        arrived = sock.recv(USUAL_BYTES, how)
        return arrived if len(arrived) < USUAL_BYTES else sock.recv(MOST_BYTES, how)
    except BlockingIOError:
        return None
    except OSError:
        return b""
