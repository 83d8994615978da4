"""A path to PostgreSQL that a test can cut: before a statement, after it, or completely."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from urllib.parse import quote

import psycopg2.extensions

# No \\b in front: the byte before them is the last one of the message's length, which may be a letter.
PREPARE, EXECUTE = re.compile(rb"PREPARE (holdfast_\w+) AS"), re.compile(rb"EXECUTE (holdfast_\w+)")


class _Pair:
    """One connection: the client's end and the server's."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.greeting = b""
        """The client's startup message, which contains its application_name."""
        self.loses_answer = self.drops_packets = False

    def cut(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.client.close()
        self.server.close()


class Severable:
    """A TCP port on 127.0.0.1 that forwards to the server's unix socket."""

    def __init__(self, url: str) -> None:
        address = psycopg2.extensions.parse_dsn(url)
        self._server = f"{address['host']}/.s.PGSQL.{address.get('port', 5432)}"
        self._account = f"{address['user']}@127.0.0.1"
        self._database, self._passfile = address["dbname"], address.get("passfile", "")
        self._listener: socket.socket | None = None
        self._pairs: list[_Pair] = []
        self._threads: list[threading.Thread] = []
        self._cut_at: bytes | None = None
        self._cut_after = self._then_stop = self._is_silent = False
        self._prepared: dict[bytes, bytes] = {}
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        parameters = f"sslmode=disable&gssencmode=disable&passfile={quote(self._passfile, safe='/')}"
        return f"postgresql://{self._account}:{self.port}/{self._database}?{parameters}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._run(self._accept, self._listener)

    def refuse(self) -> None:
        """Refuse new connections; existing ones stay."""
        if self._listener:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            self._listener.close()
            self._listener = None

    def stop(self) -> None:
        """Cut every connection and refuse new ones."""
        self.refuse()
        self._cut_all()
        for thread in self._threads:
            thread.join()
        for pair in self._pairs:
            pair.close()
        self._pairs, self._threads = [], []

    def be_silent(self) -> None:
        """From now on accept everything and answer nothing."""
        self._is_silent = True

    def drop_packets_of(self, application_name: str) -> None:
        """Drop all data of this application's current connections, which stay open on both sides."""
        for pair in self._pairs:
            if f"\0{application_name}\0".encode() in pair.greeting:
                pair.drops_packets = True

    def cut_before(self, statement: str) -> None:
        """Cut the connection when this text is sent, once; the server never receives it."""
        self._cut_at, self._cut_after = statement.encode(), False

    def cut_after(self, statement: str, *, and_stop: bool = False) -> None:
        """Cut the connection when the server answers this statement, once. `and_stop`: refuse new connections too."""
        self._cut_at, self._cut_after, self._then_stop = statement.encode(), True, and_stop

    @property
    def was_cut(self) -> bool:
        return self._cut_at is None

    def _cut_all(self) -> None:
        for pair in self._pairs:
            pair.cut()

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
                self._pairs.append(pair := _Pair(client, server))
                self._run(self._to_server, pair)
                self._run(self._to_client, pair)

    def _to_server(self, pair: _Pair) -> None:
        with suppress(OSError):
            while data := pair.client.recv(65536):
                pair.greeting = pair.greeting or data
                if self._is_statement_to_cut(data):
                    self._cut_at = None
                    if not self._cut_after:
                        break
                    pair.loses_answer = True
                if not (self._is_silent or pair.drops_packets):
                    pair.server.sendall(data)
        if not pair.drops_packets:  # otherwise the client's close is dropped too
            pair.cut()

    def _is_statement_to_cut(self, data: bytes) -> bool:
        """Whether the data runs the statement, as text or by its prepared name. A PREPARE does not count."""
        if preparing := PREPARE.search(data):
            self._prepared[preparing[1]] = data
            return False
        executing = EXECUTE.search(data)
        text = self._prepared.get(executing[1], data) if executing else data
        return self._cut_at is not None and self._cut_at in text

    def _to_client(self, pair: _Pair) -> None:
        with suppress(OSError):
            while (data := pair.server.recv(65536)) and not pair.loses_answer:
                if not pair.drops_packets:
                    pair.client.sendall(data)
        if pair.loses_answer and self._then_stop:
            self.refuse()
            self._cut_all()
        pair.cut()
