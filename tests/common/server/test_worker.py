"""How a worker handles events on a connection."""

import select
import socket
from contextlib import closing
from time import monotonic

import pytest
from gunicorn.config import Config

from common.api.waits import Parked
from common.server.connection import Connection, State, has_gone, send_now
from common.server.parking import Parking
from common.server.slots import Slots
from common.server.worker import Worker

HALF = b"GET /live HTTP/1.1\r\n"
WHOLE = HALF + b"\r\n"
ORDER = b"GET /orders/1 HTTP/1.1\r\n\r\n"


class Poller:
    """Records the events that are waited for."""

    def __init__(self):
        self.awaited = []

    def await_readable(self, fd):
        self.awaited.append("readable")

    def await_writable(self, fd):
        self.awaited.append("writable")

    def await_hangup(self, fd):
        self.awaited.append("hangup")


@pytest.fixture
def worker(monkeypatch):
    worker = Worker.__new__(Worker)  # without starting a process
    worker.connections, worker.clients, worker.alive, worker.cfg = {}, Poller(), True, Config()
    worker.requests, worker.probes, worker.parking = Slots(1), Slots(1), Parking(worker.clients)
    worker.handled = []
    monkeypatch.setattr(Worker, "_handle", lambda _, conn: worker.handled.append(conn.received) or False)
    return worker


@pytest.fixture
def client_and_connection():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        sock, address = server.accept()
        conn = Connection(sock, address, server.getsockname(), Config(), monotonic() + 60)
        with closing(sock):
            yield client, conn


def arrive(conn):
    assert select.select([conn.sock], [], [conn.sock], 30) != ([], [], [])


def test_only_a_complete_request_is_handled(worker, client_and_connection):
    client, conn = client_and_connection
    client.sendall(HALF)
    arrive(conn)
    worker._handle_event(conn, False)
    assert (worker.handled, worker.clients.awaited) == ([], ["readable"])
    client.sendall(b"\r\n")
    arrive(conn)
    worker._handle_event(conn, False)
    assert worker.handled == [WHOLE]


def test_event_without_data_is_ignored(worker, client_and_connection):
    """Urgent bytes cause one, for instance."""
    _, conn = client_and_connection
    worker._handle_event(conn, False)
    assert (worker.handled, worker.clients.awaited) == ([], ["readable"])


def test_request_behind_a_probe_does_not_use_its_slot(worker, client_and_connection, monkeypatch):
    def handle(_, conn):
        worker.handled.append(conn.received)
        conn.received = conn.received.removeprefix(WHOLE)
        return True

    monkeypatch.setattr(Worker, "_handle", handle)
    client, conn = client_and_connection
    assert worker.requests.acquire(None), "another request takes the only slot"
    client.sendall(WHOLE + ORDER)
    arrive(conn)
    worker._handle_event(conn, False)
    worker._handle_event(conn, True)
    assert (worker.handled, conn.state) == ([WHOLE + ORDER], State.QUEUED)


def test_request_completed_at_the_last_moment_is_handled(worker, client_and_connection):
    client, conn = client_and_connection
    client.sendall(WHOLE)
    arrive(conn)
    conn.cut()
    worker._handle_event(conn, False)
    assert worker.handled == [WHOLE]


def test_overdue_incomplete_request_is_closed(worker, client_and_connection):
    client, conn = client_and_connection
    client.sendall(HALF)
    arrive(conn)
    conn.cut()
    worker._handle_event(conn, False)
    assert (worker.handled, conn.sock.fileno()) == ([], -1)


def test_hangup_behind_unread_bytes_is_seen(client_and_connection):
    client, conn = client_and_connection
    client.sendall(WHOLE)
    arrive(conn)
    assert not has_gone(conn.sock)
    client.close()
    while not has_gone(conn.sock):
        arrive(conn)


def test_send_now_returns_what_a_slow_client_does_not_accept(client_and_connection):
    client, conn = client_and_connection
    sent = bytes(range(256)) * 40_000
    rest = send_now(conn.sock, [memoryview(sent[:100]), memoryview(sent[100:])])
    assert rest
    received = b""
    while len(received) < len(sent):
        received += client.recv(1 << 20)
        rest = send_now(conn.sock, rest)
    assert received == sent
    assert rest == []


@pytest.fixture
def parked(worker, client_and_connection, monkeypatch):
    """A connection whose request is parked. Yields it, the callback that resumes it, and a list of cancellations."""
    client, conn = client_and_connection
    callbacks, cancelled = [], []

    def subscribe(callback):
        callbacks.append(callback)
        return lambda: cancelled.append(True)

    def park(_, conn):
        raise Parked(subscribe)

    monkeypatch.setattr(Worker, "_handle", park)
    client.sendall(WHOLE)
    arrive(conn)
    worker._handle_event(conn, False)
    assert (conn.state, worker.clients.awaited) == (State.PARKED, ["hangup"])
    monkeypatch.setattr(Worker, "_handle", lambda _, conn: worker.handled.append("resumed") or False)
    return conn, callbacks[0], cancelled


def test_parked_request_holds_no_slot_and_is_resumed_once(worker, parked):
    conn, resume, _ = parked
    assert worker.requests.acquire(conn), "the slot is free"
    worker.requests.release()
    resume()
    resume()
    assert worker.clients.awaited == ["hangup", "writable"]
    worker._handle_event(conn, True)
    assert worker.handled == ["resumed"]


def test_parked_request_ends_with_its_client(worker, parked):
    conn, resume, cancelled = parked
    worker._handle_event(conn, False)
    assert (cancelled, conn.sock.fileno()) == ([True], -1)
    resume()
    assert worker.clients.awaited == ["hangup"], "nothing happens to a closed connection"


def test_hangup_while_resuming_leaves_the_connection_to_the_other_thread(worker, parked):
    conn, resume, cancelled = parked
    resume()
    worker._handle_event(conn, False)
    assert (cancelled, conn.state) == ([], State.PARKED)
