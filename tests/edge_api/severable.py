"""A way to PostgreSQL that a test can cut: in the middle of a statement, after its commit, or altogether."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import psycopg2.extensions


class Severable:
    """A TCP port of 127.0.0.1 that passes on to the server's unix socket."""

    def __init__(self, url: str) -> None:
        address = psycopg2.extensions.parse_dsn(url)
        self._server = f"{address['host']}/.s.PGSQL.{address.get('port', 5432)}"
        self._account = f"{address['user']}@127.0.0.1"
        self._database = address["dbname"]
        self._listener: socket.socket | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._cut_at: bytes | None = None
        self._cut_after = self._is_silent = False
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://{self._account}:{self.port}/{self._database}?sslmode=disable&gssencmode=disable"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._run(self._accept, self._listener)

    def stop(self) -> None:
        """Cut every connection and refuse new ones."""
        if self._listener:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            self._listener.close()
            self._listener = None
        for pair in self._pairs:
            _cut(pair)
        for thread in self._threads:
            thread.join()
        for pair in self._pairs:
            for end in pair:
                end.close()
        self._pairs, self._threads = [], []

    def be_silent(self) -> None:
        """From now on accept everything and answer nothing."""
        self._is_silent = True

    def cut_before(self, statement: str) -> None:
        """Once: lose the connection when this text is sent; the server never gets it."""
        self._cut_at, self._cut_after = statement.encode(), False

    def cut_after(self, statement: str) -> None:
        """Once: lose the connection when the server has done this statement and says so."""
        self._cut_at, self._cut_after = statement.encode(), True

    @property
    def was_cut(self) -> bool:
        return self._cut_at is None

    def _run(self, work, *arguments) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                pair, loses_answer = (client, server), threading.Event()
                self._pairs.append(pair)
                self._run(self._to_server, pair, loses_answer)
                self._run(self._to_client, pair, loses_answer)

    def _to_server(self, pair: tuple[socket.socket, socket.socket], loses_answer: threading.Event) -> None:
        with suppress(OSError):
            while data := pair[0].recv(65536):
                if self._cut_at and self._cut_at in data:
                    self._cut_at = None
                    if not self._cut_after:
                        break
                    loses_answer.set()
                if not self._is_silent:
                    pair[1].sendall(data)
        _cut(pair)

    def _to_client(self, pair: tuple[socket.socket, socket.socket], loses_answer: threading.Event) -> None:
        with suppress(OSError):
            while (data := pair[1].recv(65536)) and not loses_answer.is_set():
                pair[0].sendall(data)
        _cut(pair)


def _cut(pair: tuple[socket.socket, socket.socket]) -> None:
    for end in pair:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
