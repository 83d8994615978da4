"""gunicorn's threaded worker, which gives a thread only to a request that has arrived in whole.

The worker of gunicorn gives each new connection a thread at once, which waits for the client to send. As many slow
clients as there are threads then keep everybody else out. Here the main loop looks at what has arrived, without
taking it, and hands the connection over when the request is complete. /health and /live have threads of their own:
they are answered also while all others wait for a database or a gateway that hangs.
"""

from __future__ import annotations

import re
import socket
import time
from bisect import insort
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from selectors import EVENT_READ

from gunicorn.workers.gthread import TConn, ThreadWorker

REQUEST_WITHIN_S = 10.0  # a connection that has not sent a whole request in this time is closed
USUAL_BYTES = 8 * 1024  # of a request; the largest valid order has 5 KB
MOST_BYTES = 80 * 1024  # that are looked at: a body of 64 KB and its head. What is longer is refused by the service.
RECEIVE_BUFFER_BYTES = 256 * 1024  # so that the kernel takes in all of them before anything is read
PROBE_THREADS = 8

PROBE = re.compile(rb"(GET|HEAD) /(health|live)[ ?]")
REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01]\r\n")
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
WAITS_FOR_LEAVE = re.compile(rb"\r\nexpect:", re.IGNORECASE)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """`worker_class` in gunicorn.conf.py."""

    def init_process(self) -> None:
        for listener in self.sockets:  # what a listener has, its connections inherit
            listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
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
        future = pool.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def _await_more(self, conn: TConn, arrived: int) -> None:
        if not hasattr(conn, "seen") or conn.seen < 0:
            conn.timeout = time.monotonic() + REQUEST_WITHIN_S
        conn.seen = arrived
        # The kernel reports the socket again when there is more than we have seen, or the client has hung up.
        if arrived:
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, arrived + 1)
        insort(self.pending_conns, conn, key=lambda each: each.timeout)  # the first in it is the first to be closed
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _cap_keepalive(self, deadline: float) -> None:
        """When stopping, a connection that has not sent its request is not waited for any longer than an idle one."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)


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


def _may_become_http(arrived: bytes) -> bool:
    first, separator, _ = arrived.partition(b"\n")
    return arrived[:1].isupper() and (not separator or bool(REQUEST_LINE.match(first + separator)))
