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
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from typing import Any

from gunicorn import util
from gunicorn.http import errors as http_errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from common import errors, logs
from common.idempotency import SENT_TWICE

REQUEST_WITHIN_S = 10.0  # a connection that has not sent a whole request in this time is closed
CLOSE_WITHIN_S = 2.0  # after its last answer, for the client to read it and to close
READ_WITHIN_S = 10  # a thread waits no longer for a part of a body: one whose client has asked for leave to send it
USUAL_BYTES = 8 * 1024  # of a request; the largest valid order has 5 KB
MOST_BYTES = 80 * 1024  # that are looked at: a body of 64 KB and its head. What is longer is refused by the service.
RECEIVE_BUFFER_BYTES = 256 * 1024  # so that the kernel takes in all of them before anything is read
PROBE_THREADS = 8

PROBE = re.compile(rb"(GET|HEAD) /(health|live)[ ?]")
REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01]\r\n")
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
WAITS_FOR_LEAVE = re.compile(rb"\r\nexpect:", re.IGNORECASE)
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
            listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", READ_WITHIN_S, 0))
        self.probes = ThreadPoolExecutor(PROBE_THREADS, thread_name_prefix="probe")
        super().init_process()

    def enqueue_req(self, conn: TConn) -> None:
        """Give the connection to a thread, or wait for the rest of its request. Runs in the main loop."""
        if conn.parser and conn.parser.unreader.buf.getvalue():
            super().enqueue_req(conn)  # the next request was read along with the last one
            return
        seen, arrived = getattr(conn, "seen", -1), _peek(conn.sock)
        if arrived is None or (len(arrived) > seen and not is_whole(arrived)):
            self._await_more(conn, len(arrived or b""))
            return
        if seen > 0:
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        conn.seen, conn.data_ready = -1, True
        pool = self.probes if PROBE.match(arrived) else self.tpool
        refusal = _unreadable(arrived)
        future = pool.submit(self._refuse, conn, refusal) if refusal else pool.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def _refuse(self, conn: TConn, refusal: Exception) -> bool:
        self.handle_error(None, conn.sock, conn.client, refusal)
        return False

    def _await_more(self, conn: TConn, arrived: int) -> None:
        if not hasattr(conn, "seen") or conn.seen < 0:
            conn.timeout = time.monotonic() + REQUEST_WITHIN_S
        conn.seen = arrived
        # The kernel reports the socket again when there is more than we have seen, or the client has hung up.
        if arrived:
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, arrived + 1)
        insort(self.pending_conns, conn, key=lambda each: each.timeout)  # the first in it is the first to be closed
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def finish_request(self, conn: TConn, done: Future[Any]) -> None:
        """After the last answer, wait for the client to close, but not here, where everybody would wait with us."""
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


def is_whole(arrived: bytes) -> bool:
    """Whether a thread can answer without having to wait for the client: with what was asked, or with a refusal."""
    end_of_head = arrived.find(b"\r\n\r\n")
    if len(arrived) >= MOST_BYTES:
        return True
    if end_of_head < 0:
        return not _may_become_http(arrived)
    head = arrived[: end_of_head + 2]
    if WAITS_FOR_LEAVE.search(head):
        return True
    if CHUNKED.search(head):
        return arrived.endswith(b"0\r\n\r\n")
    length = CONTENT_LENGTH.search(head)
    return length is None or len(arrived) >= end_of_head + 4 + int(length[1])


def _unreadable(arrived: bytes) -> Exception | None:
    """What gunicorn would refuse too, but only once it has read to the end of a line or a head that may never come."""
    refusal: Exception | None = None
    if arrived and not _may_become_http(arrived):
        refusal = http_errors.InvalidRequestLine("")
    elif len(arrived) >= MOST_BYTES and b"\r\n\r\n" not in arrived:
        refusal = http_errors.LimitRequestHeaders("")
    return refusal


def _may_become_http(arrived: bytes) -> bool:
    first, separator, _ = arrived.partition(b"\n")
    return arrived[:1].isupper() and (not separator or bool(REQUEST_LINE.match(first + separator)))
