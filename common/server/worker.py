"""A threaded gunicorn worker that gives a thread only to a complete request.

gunicorn's own threaded worker gives each new connection a thread, which waits for the client. As many slow clients as
there are threads then block all others. Here a thread reads what has arrived and responds once the request is
complete; until then the kernel watches the connection. The same holds for a response that its client receives slowly,
and for a request that waits for an order to end.

All threads wait for all connections, and the kernel gives each event to one of them. So no request is handed from one
thread to another. The main loop only accepts connections and looks at the clock.

/health and /live have slots of their own: they respond while everything else waits for a database or a gateway.
"""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from gunicorn.http import errors as http_errors
from gunicorn.http import wsgi

from common.api.waits import CAN_PARK, IS_RESUMED, Parked
from common.server.connection import Connection, State, has_gone
from common.server.framing import MAX_BYTES
from common.server.main_loop import STOP_WITHIN_S, MainLoop
from common.server.parking import Parking
from common.server.poller import Poller
from common.server.requests import mark_repeated_key, refuse
from common.server.response import BufferedResponse
from common.server.slots import Slots

REQUEST_WITHIN_S = 10.0  # for a complete request to arrive
RECEIVE_WITHIN_S = 120.0  # for a client to receive a response: 250 KB of documentation at 2 KB/s
CLOSE_WITHIN_S = 2.0  # for a client to close after its last response
CUT_AFTER_S = 60.0  # a request that has been processed for longer: twice the longest `?wait=`
PROBES = 8  # processed at once

PROBE = re.compile(rb"(GET|HEAD) /(health|live)[ ?]")
log = logging.getLogger(__name__)


class Worker(MainLoop):
    """`worker_class` in gunicorn.conf.py."""

    def init_process(self) -> None:
        self.clients = Poller()
        self.requests: Slots[Connection] = Slots(self.cfg.threads)
        self.probes: Slots[Connection] = Slots(PROBES)
        self.parking = Parking(self.clients)
        super().init_process()

    def run(self) -> None:
        for number in range(self.cfg.threads + PROBES):
            Thread(target=self._serve, name=f"web-{number}", daemon=True).start()
        super().run()

    def add(self, sock: socket.socket, client: Any, server: Any) -> None:
        conn = Connection(sock, client, server, self.cfg, time.monotonic() + REQUEST_WITHIN_S)
        self.connections[conn.fd] = conn
        self.clients.add(conn.fd)

    def _serve(self) -> None:
        """Handle whatever happens on any connection, until the process ends."""
        while True:
            fd, is_writable = self.clients.wait()
            if conn := self.connections.get(fd):
                with self._closed_on_error(conn):
                    self._handle_event(conn, is_writable)

    def _handle_event(self, conn: Connection, is_writable: bool) -> None:
        match conn.state:
            case State.READING:
                self._read(conn)
            case State.SENDING:
                self._send_rest(conn)
            case State.PARKED if is_writable:  # it is resumed
                self._queue(conn, self.requests)
            case State.PARKED if self.parking.abandon(conn):
                self._close(conn)
            case State.CLOSING:
                self._discard(conn)

    def _read(self, conn: Connection) -> None:
        was_idle = not conn.received
        is_open = conn.receive()
        request, framing = conn.received, conn.framing
        if request and framing.is_complete(request):
            conn.parse_error, conn.is_truncated = framing.parse_error(request), framing.is_truncated(request)
            self._queue(conn, self.probes if PROBE.match(request) else self.requests)
        elif conn.is_overdue or not is_open:
            self._close(conn)
        else:
            if was_idle and request and conn.parser.req_count:  # the first request has its time since the connect
                conn.deadline = time.monotonic() + REQUEST_WITHIN_S
            conn.send_continue()
            self.clients.await_readable(conn.fd)

    def _queue(self, conn: Connection, slots: Slots[Connection]) -> None:
        """Respond if a slot is free. Otherwise another thread does, which releases one."""
        conn.state, conn.deadline = State.QUEUED, time.monotonic() + CUT_AFTER_S
        if not slots.acquire(conn):
            return
        holder: Connection | None = conn
        is_first = True
        while holder:
            with self._closed_on_error(holder):
                if is_first or not has_gone(holder.sock):
                    self._respond(holder)
                else:
                    self._close(holder)
            holder, is_first = slots.release(), False

    def _respond(self, conn: Connection) -> None:
        conn.begin(time.monotonic() + CUT_AFTER_S)
        try:
            keeps_alive = self._handle(conn)
        except Parked as parked:
            self.parking.park(conn, parked)
            return
        conn.keeps_alive = keeps_alive
        if conn.unsent:
            conn.state, conn.deadline = State.SENDING, time.monotonic() + RECEIVE_WITHIN_S
            self.clients.await_writable(conn.fd)
        else:
            self._after_response(conn)

    def _send_rest(self, conn: Connection) -> None:
        try:
            conn.send_rest()
        except OSError:
            self._close(conn)
            return
        if conn.unsent:
            self.clients.await_writable(conn.fd)
        else:
            self._after_response(conn)

    def _after_response(self, conn: Connection) -> None:
        if not conn.keeps_alive:
            self._await_last_close(conn)
            return
        conn.state = State.READING
        conn.deadline = time.monotonic() + (self.cfg.keepalive if self.alive else STOP_WITHIN_S)
        if conn.received and conn.framing.is_complete(conn.received):
            self.clients.await_writable(conn.fd)  # the next request came early: it joins the end of the queue
        else:
            self.clients.await_readable(conn.fd)

    def _handle(self, conn: Connection) -> bool:
        """Respond. :returns: whether the connection stays open :raises Parked:"""
        request, conn.parked_request = conn.parked_request, None
        is_resumed = request is not None
        try:
            if conn.parse_error:
                raise conn.parse_error
            request = request or next(conn.parser)
            return self._ask_application(conn, request, is_resumed) and bool(conn.parser.finish_body())
        except Parked:
            conn.parked_request = request
            raise
        except (http_errors.NoMoreData, StopIteration):
            log.debug("the client closed the connection")
        except OSError as error:
            log.debug("the connection was lost: %s", error)
        except Exception as error:  # malformed HTTP gets its own response, any other error a 500
            refuse(conn.sock, error)
        finally:
            conn.take_back_surplus()
        return False

    def _ask_application(self, conn: Connection, request: Any, is_resumed: bool) -> bool:
        """:returns: whether the connection stays open after this response"""
        mark_repeated_key(request)
        request._expected_100_continue = False  # a client that waited for it has been told
        response, environ = wsgi.create(
            request, conn.sock, conn.client, conn.server, self.cfg, response_class=BufferedResponse
        )
        environ["wsgi.multithread"] = True
        environ[IS_RESUMED], environ[CAN_PARK] = is_resumed, self.parking.has_room and self.alive
        if not self.alive or conn.is_overdue or conn.is_truncated or self.is_nearly_full():
            response.force_close()
        try:
            response.send_all_of(self.wsgi(environ, response.start_response))
        except Exception as error:  # of the view: a 500 response, unless a part of this one has left
            if response.has_started and not isinstance(error, OSError):
                log.exception("a response was broken off")
                return False
            raise
        conn.unsent = response.unsent
        return not response.should_close()

    def _await_last_close(self, conn: Connection) -> None:
        """After the last response, wait for the client to close, without a thread."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client has gone
            self._close(conn)
            return
        conn.state, conn.deadline = State.CLOSING, time.monotonic() + CLOSE_WITHIN_S
        self.clients.await_readable(conn.fd)

    def _discard(self, conn: Connection) -> None:
        """Read what the client still sends: closing with unread data would destroy our response on its way."""
        try:
            is_closed = not conn.sock.recv(MAX_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            is_closed = False
        except OSError:
            is_closed = True
        if is_closed or conn.is_overdue:
            self._close(conn)
        else:
            self.clients.await_readable(conn.fd)

    def _close(self, conn: Connection) -> None:
        self.connections.pop(conn.fd, None)  # first, as the next connection may get the same descriptor
        conn.sock.close()

    @contextmanager
    def _closed_on_error(self, conn: Connection) -> Iterator[None]:
        try:
            yield
        except BaseException:  # whatever it is, the thread must go on
            log.exception("a connection is closed because of an error")
            self._close(conn)
