"""What a worker makes of an event on a connection."""

import select
import socket
from contextlib import closing

import pytest
from gunicorn.config import Config

from common.server.connection import Connection
from common.server.worker import Worker

HALF = b"GET /live HTTP/1.1\r\n"


class Poller:
    """Takes down who is waited for again."""

    def __init__(self):
        self.again_ = []

    def again(self, fd):
        self.again_.append(fd)


@pytest.fixture
def worker():
    worker = Worker.__new__(Worker)  # without a process around it
    worker.connections, worker.clients, worker.alive, worker._accepting = {}, Poller(), True, True
    return worker


@pytest.fixture
def client_and_connection():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        sock, address = server.accept()
        conn = Connection(Config(), sock, address, server.getsockname())
        conn.timeout = float("inf")
        with closing(conn):
            yield client, conn


def arrive(conn):
    assert select.select([conn.sock], [], [conn.sock], 30) != ([], [], [])


def test_a_part_of_a_request_is_waited_for_and_a_whole_one_is_taken(worker, client_and_connection):
    client, conn = client_and_connection
    client.sendall(HALF)
    arrive(conn)
    assert worker._request(conn) is None
    assert worker.clients.again_ == [conn.sock.fileno()]
    client.sendall(b"\r\n")
    arrive(conn)
    assert worker._request(conn) == HALF + b"\r\n"


def test_urgent_bytes_get_no_thread(worker, client_and_connection):
    """They make a connection look as if there were something to read, where reading would wait for the client."""
    client, conn = client_and_connection
    client.sendall(HALF)
    arrive(conn)
    assert worker._request(conn) is None
    client.send(b"!", socket.MSG_OOB)
    arrive(conn)
    assert worker._request(conn) is None
    assert conn.sock.fileno() == -1, "it is closed"


def test_a_request_of_the_last_moment_is_taken_though_its_time_is_over(worker, client_and_connection):
    client, conn = client_and_connection
    client.sendall(HALF + b"\r\n")
    arrive(conn)
    conn.cut(is_in_hand=False)
    assert worker._request(conn) == HALF + b"\r\n"


def test_what_is_not_whole_when_its_time_is_over_is_closed(worker, client_and_connection):
    client, conn = client_and_connection
    client.sendall(HALF)
    arrive(conn)
    conn.cut(is_in_hand=False)
    assert worker._request(conn) is None
    assert conn.sock.fileno() == -1, "it is closed"
