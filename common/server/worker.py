"""gunicorn's threaded worker, which gives a thread only to a request that has arrived in whole.

The worker of gunicorn gives each new connection a thread at once, which waits for the client to send. As many slow
clients as there are threads then keep everybody else out. Here a thread looks at what has arrived, without taking it,
and answers when the request is complete; otherwise it leaves the connection to the kernel until there is more.

And gunicorn's main loop, which waits for all connections, hands each request over to a thread, and gets the connection
back: two wake-ups of another thread for each request. Here the threads themselves wait for the connections, each for
any of them, and the kernel gives each event to one of them. The main loop is left with accepting and with the clock.

/health and /live are answered also while all else waits for a database or a gateway that hangs: they have places of
their own, and there are as many threads as places.
"""

from __future__ import annotations

import errno
import logging
import re
import socket
import struct
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from gunicorn import util
from gunicorn.http import errors as http_errors
from gunicorn.http import wsgi
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from common.api import errors
from common.api.idempotency import SENT_TWICE
from common.process import logs
from common.server.connection import Answer, Connection, as_http
from common.server.framing import MOST_BYTES, is_whole, unreadable
from common.server.poller import Poller
from common.server.slots import Places

REQUEST_WITHIN_S = 10.0  # a connection that has not sent a whole request in this time is closed
CLOSE_WITHIN_S = 2.0  # after its last answer, for the client to read it and to close
TRANSFER_WITHIN_S = 5  # a thread waits no longer for a client that takes in nothing of its answer, or sends nothing
HELD_AT_MOST_S = 60.0  # a request is cut off that has been in hand for longer: twice the longest `?wait=`
LOOK_EVERY_S = 1.0  # for what has taken too long
NO_DESCRIPTOR_PAUSE_S = 0.1
RECEIVE_BUFFER_BYTES = 256 * 1024  # so that the kernel takes in MOST_BYTES before anything is read
PROBES = 8  # that may be in hand at once

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
        self.requests: Places[Connection] = Places(self.cfg.threads)
        self.probes: Places[Connection] = Places(PROBES)
        self.looked_at = 0.0
        super().init_process()

    def run(self) -> None:
        for number in range(self.cfg.threads + PROBES):
            Thread(target=self._serve, name=f"web-{number}", daemon=True).start()
        super().run()

    def accept(self, listener: socket.socket) -> None:
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                log.error("no file descriptor is left for another connection")
                time.sleep(NO_DESCRIPTOR_PAUSE_S)  # it stays in the listener's queue
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        conn = Connection(self.cfg, sock, client, listener.getsockname())
        conn.timeout = time.monotonic() + REQUEST_WITHIN_S
        self.connections[sock.fileno()] = conn
        self.clients.add(sock.fileno())

    def _serve(self) -> None:
        """See to whatever happens on a connection. Each thread does so for ever."""
        while True:
            if conn := self.connections.get(self.clients.wait()):
                with self._given_up_on_error(conn):
                    self._see_to(conn)

    def _see_to(self, conn: Connection) -> None:
        request = self._request(conn)
        if request is None:
            return
        places = self.probes if PROBE.match(request) else self.requests
        holder = conn if places.take(conn) else None
        while holder:
            with self._given_up_on_error(holder):
                self._answer(holder, places)
            holder = places.leave()

    def _request(self, conn: Connection) -> bytes | None:
        """What is to be answered: a whole request, and what else has come. None: nothing is, and it is seen to."""
        if conn.is_answered:
            self._await_close(conn)
            return None
        arrived = conn.peek()
        request = conn.read_ahead() + (arrived or b"")
        if request and is_whole(request):
            conn.timeout = time.monotonic() + HELD_AT_MOST_S
            conn.refusal = unreadable(request)
            return request
        # An event without anything new is the client's end, or something that is no data (urgent bytes).
        if conn.is_overdue or not conn.may_send_more(arrived):
            self._close(conn)
        else:
            self._await_more(conn, len(arrived or b""), request)
        return None

    def _await_more(self, conn: Connection, arrived: int, request: bytes) -> None:
        is_first = conn.parser is None  # which has its time since the client connected
        if request and not is_first and not conn.is_begun():
            conn.timeout = time.monotonic() + REQUEST_WITHIN_S
        conn.wait_for_more_than(arrived, request)
        self.clients.again(conn.sock.fileno())

    def _answer(self, conn: Connection, places: Places[Connection]) -> None:
        conn.begin(until=time.monotonic() + HELD_AT_MOST_S)
        stays = self._refuse(conn, conn.refusal) if conn.refusal else self.handle(conn)
        conn.is_in_hand = False
        is_more = stays and conn.read_ahead()  # the client did not wait for this answer
        if not stays or (is_more and places is self.probes):  # what comes behind a probe has no right to its place
            self._end(conn)
            return
        conn.timeout = time.monotonic() + self.cfg.keepalive
        if not self.alive:
            conn.timeout = time.monotonic() + STOP_KEEPALIVE_LINGER
        if not is_more:
            self.clients.again(conn.sock.fileno())
        elif self._request(conn) is not None:
            places.wait_again(conn)

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
        if not (self.alive and self._accepting):
            self.method_queue.defer(lambda: None)  # the main loop waits for this one

    @contextmanager
    def _given_up_on_error(self, conn: Connection) -> Iterator[None]:
        try:
            yield
        except BaseException:  # whatever it is, the thread has to go on
            log.exception("a connection is given up")
            self._close(conn)

    def murder_pending(self) -> None:
        """Cut what has taken too long. Runs in the main loop, with each of its turns."""
        now = time.monotonic()
        if now < self.looked_at + LOOK_EVERY_S:
            return
        self.looked_at = now
        for conn in list(self.connections.values()):
            is_in_hand = conn.is_in_hand  # before its time, which is set before this changes
            if now > conn.timeout:
                conn.cut(is_in_hand)

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
        req._expected_100_continue = False  # it has been told, where it waited
        answer, environ = wsgi.create(req, conn.sock, conn.client, conn.server, self.cfg, response_class=Answer)
        environ["wsgi.multithread"] = True
        if not self.alive or conn.is_overdue or len(self.connections) > self.max_keepalived:
            answer.force_close()
        body = self.wsgi(environ, answer.start_response)
        try:
            for piece in body:
                answer.write(piece)
            answer.close()
        except Exception as error:  # of the view: told with a 500, unless a part of its answer is on its way already
            if answer.headers_sent and not answer.head and not isinstance(error, OSError):
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
