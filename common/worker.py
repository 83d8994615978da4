"""gunicorn's threaded worker, which gives a thread only to a request that has arrived in whole.

The worker of gunicorn gives each new connection a thread at once, which waits for the client to send. As many slow
clients as there are threads then keep everybody else out. Here a thread looks at what has arrived, without taking it,
and answers when the request is complete; otherwise it leaves the connection to the kernel until there is more.

And gunicorn's main loop, which waits for all connections, hands each request over to a thread, and gets the connection
back: two wake-ups of another thread for each request. Here the threads themselves wait for the connections, each for
any of them, and the kernel gives each event to one of them. The main loop is left with accepting and with the clock.

/health and /live are answered also while all else waits for a database or a gateway that hangs: there are more threads
than requests that may be in hand at once.
"""

from __future__ import annotations

import errno
import logging
import re
import socket
import struct
import time
import uuid
from collections import deque
from threading import Lock, Thread
from typing import Any

from gunicorn import util
from gunicorn.http import errors as http_errors
from gunicorn.http import wsgi
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from common import errors, logs
from common.connection import Answer, Connection, as_http
from common.framing import MOST_BYTES, is_whole, unreadable
from common.idempotency import SENT_TWICE
from common.poller import Poller

REQUEST_WITHIN_S = 10.0  # a connection that has not sent a whole request in this time is closed
CLOSE_WITHIN_S = 2.0  # after its last answer, for the client to read it and to close
TRANSFER_WITHIN_S = 5  # a thread waits no longer for a client that takes in nothing of its answer, or sends nothing
HELD_AT_MOST_S = 60.0  # a request is cut off that has been in hand for longer: twice the longest `?wait=`
RECEIVE_BUFFER_BYTES = 256 * 1024  # so that the kernel takes in MOST_BYTES before anything is read
PROBE_THREADS = 8

PROBE = re.compile(rb"(GET|HEAD) /(health|live)[ ?]")
# What gunicorn refuses before a service sees it; all else that it cannot read is BrokenHttp.
REFUSALS = {
    http_errors.LimitRequestLine: errors.UriTooLong,
    http_errors.LimitRequestHeaders: errors.HeadersTooLarge,
    http_errors.ExpectationFailed: errors.ExpectationFailed,
}
OURS = (http_errors.InvalidResponseHeader, http_errors.InvalidResponseHeaderName)  # not the client's fault
log = logging.getLogger(__name__)


class Worker(ThreadWorker):  # type: ignore[misc]
    """`worker_class` in gunicorn.conf.py."""

    nr_conns = property(lambda self: len(self.connections), lambda self, _: None)  # gunicorn counts by itself

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.connections: dict[int, Connection] = {}  # by file descriptor
        super().__init__(*args, **kwargs)

    def init_process(self) -> None:
        for listener in self.sockets:  # what a listener has, its connections inherit
            listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            for limit in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                listener.sock.setsockopt(socket.SOL_SOCKET, limit, struct.pack("ll", TRANSFER_WITHIN_S, 0))
        self.clients = Poller()
        self.lock = Lock()
        self.free = self.cfg.threads  # so many more requests may be taken in hand
        self.waiting: deque[Connection] = deque()  # for that, with a whole request
        super().init_process()

    def run(self) -> None:
        for number in range(self.cfg.threads + PROBE_THREADS):
            Thread(target=self._serve, name=f"web-{number}", daemon=True).start()
        super().run()

    def accept(self, listener: socket.socket) -> None:
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        conn = Connection(self.cfg, sock, client, listener.getsockname())
        conn.timeout = time.monotonic() + REQUEST_WITHIN_S
        self.connections[sock.fileno()] = conn
        self.clients.add(sock.fileno())

    def _serve(self) -> None:
        """See to whatever happens on a connection, and to what follows from that. Each thread does so for ever."""
        while True:
            told_of = self.connections.get(self.clients.wait())
            following = [told_of] if told_of else []
            while following:
                conn = following.pop()
                try:
                    if self._see_to(conn):
                        following.append(conn)
                except Exception:
                    log.exception("a connection is given up")
                    self._close(conn)
                with self.lock:
                    if self.free and self.waiting:
                        following.append(self.waiting.popleft())

    def _see_to(self, conn: Connection) -> bool:
        """:returns: whether there is more to see to at once, of which the poller does not know"""
        if conn.is_answered:
            self._await_close(conn)
            return False
        arrived = conn.peek()
        request = conn.read_ahead() + (arrived or b"")
        is_complete = bool(request) and is_whole(request)
        has_closed = arrived is not None and not request
        if not is_complete and (has_closed or conn.is_overdue):
            self._close(conn)
            return False
        if not is_complete and conn.may_send_more(arrived):
            self._await_more(conn, len(arrived or b""), request)
            return False
        if PROBE.match(request):
            return self._answer(conn, request)
        with self.lock:
            if not self.free:
                self.waiting.append(conn)
                return False
            self.free -= 1
        try:
            return self._answer(conn, request)
        finally:
            with self.lock:
                self.free += 1

    def _await_more(self, conn: Connection, arrived: int, request: bytes) -> None:
        is_first = conn.parser is None  # which has its time since the client connected
        if request and not is_first and not conn.is_begun():
            conn.timeout = time.monotonic() + REQUEST_WITHIN_S
        conn.wait_for_more_than(arrived, request)
        self.clients.again(conn.sock.fileno())

    def _answer(self, conn: Connection, request: bytes) -> bool:
        """:returns: whether the client has sent more than this request, and that was read along with it"""
        conn.begin(until=time.monotonic() + HELD_AT_MOST_S)
        refusal = unreadable(request)
        stays = self._refuse(conn, refusal) if refusal else self.handle(conn)
        conn.is_in_hand = False
        if not stays:
            self._end(conn)
            return False
        conn.timeout = time.monotonic() + (self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER)
        if conn.read_ahead():
            return True
        self.clients.again(conn.sock.fileno())
        return False

    def _refuse(self, conn: Connection, refusal: Exception) -> bool:
        self.handle_error(None, conn.sock, conn.client, refusal)
        return False

    def _end(self, conn: Connection) -> None:
        """After the last answer, wait for the client to close, but not here, where it would hold the thread."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client has gone
            self._close(conn)
            return
        conn.timeout, conn.is_answered = time.monotonic() + CLOSE_WITHIN_S, True
        self.clients.again(conn.sock.fileno())

    def _await_close(self, conn: Connection) -> None:
        """Take in what it still sends: closed with something unread, the connection would lose our answer as well."""
        try:
            is_over = not conn.sock.recv(MOST_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            is_over = False
        except OSError:
            is_over = True
        if is_over or conn.is_overdue:
            self._close(conn)
        else:
            self.clients.again(conn.sock.fileno())

    def _close(self, conn: Connection) -> None:
        self.connections.pop(conn.sock.fileno(), None)  # first, as the next one may get the same descriptor
        conn.close()
        if not self.alive:
            self.method_queue.defer(lambda: None)  # the main loop waits for the last one

    def murder_pending(self) -> None:
        """Cut what has taken too long. Runs in the main loop, at least once a second."""
        now = time.monotonic()
        for conn in list(self.connections.values()):
            if now > conn.timeout:
                conn.cut()

    def _cap_keepalive(self, deadline: float) -> None:
        """When stopping, do not wait longer for a connection that has not sent its request than for an idle one.

        And let go of the port at once: as long as the last worker has it, new callers hang, and nobody can take it.
        """
        for listener in self.sockets:
            listener.close()
        for conn in list(self.connections.values()):
            if not conn.is_in_hand:
                conn.timeout = min(conn.timeout, deadline)

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """Ask the application; whether the connection stays open. Head and body of an answer are sent as one.

        An Idempotency-Key that came twice is marked before WSGI joins the two with a comma, which a key may have.
        """
        if [name for name, _ in req.headers].count("IDEMPOTENCY-KEY") > 1:
            req.headers.append(("IDEMPOTENCY-KEY", SENT_TWICE))
        answer, environ = wsgi.create(req, conn.sock, conn.client, conn.server, self.cfg, response_class=Answer)
        environ["wsgi.multithread"] = True
        if not self.alive or len(self.connections) > self.max_keepalived:
            answer.force_close()
        body = self.wsgi(environ, answer.start_response)
        try:
            for piece in body:
                answer.write(piece)
            answer.close()
        except Exception as error:
            if answer.headers_sent and not isinstance(error, OSError):
                log.exception("an answer was broken off")
                return False
            raise
        finally:
            if hasattr(body, "close"):
                body.close()
        return not answer.should_close()

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
