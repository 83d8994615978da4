"""A relay to a server that drops the connection instead of passing on one statement's answer."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Relay:
    """Listens on a port of this machine for one connection to the unix socket at `path`.

    After it has passed on `lose_answer_to`, it waits for the server's answer and then cuts the connection.
    """

    def __init__(self, path: str, lose_answer_to: bytes) -> None:
        self._path, self._fatal = path, lose_answer_to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._cut = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        self._listener.close()

    def _run(self) -> None:
        with suppress(OSError):
            client, _ = self._listener.accept()
            with client, socket.socket(socket.AF_UNIX) as server:
                server.connect(self._path)
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                while answer := server.recv(65536):
                    if self._cut.is_set():
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    client.sendall(answer)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while question := client.recv(65536):
                if self._fatal in question:
                    self._cut.set()
                server.sendall(question)
