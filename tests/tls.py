"""A private certificate authority, and servers with its certificates."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

CHUNK_BYTES = 64 * 1024
Handler = Callable[[ssl.SSLSocket], None]


def private_ca(folder: Path) -> tuple[Path, Path]:
    """Make a CA and its certificate for `localhost`. :returns: the CA's certificate; the server's key and chain"""
    ca, ca_key, key, request, chain = (folder / name for name in ("ca.pem", "ca.key", "key", "request", "chain.pem"))
    extension = folder / "extension"
    extension.write_text("subjectAltName = DNS:localhost")
    new_key = ["-newkey", "rsa:2048", "-nodes"]
    _openssl("req", "-x509", *new_key, "-keyout", ca_key, "-out", ca, "-subj", "/CN=private CA")
    _openssl("req", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    signed = ["-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-extfile", extension]
    _openssl("x509", "-req", "-in", request, "-out", chain, *signed)
    chain.write_text(key.read_text() + chain.read_text())
    return ca, chain


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class TlsServer:
    """Accepts TLS connections on `localhost` and passes each to `handle` in its own thread."""

    def __init__(self, chain: Path, handle: Handler) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(chain)
        self._handle = handle
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"https://localhost:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, self._context.wrap_socket(connection, server_side=True) as secured:
            self._handle(secured)


def relay_to(address: tuple[str, int]) -> Handler:
    """Terminate TLS, as a proxy in front of a service does."""

    def handle(client: ssl.SSLSocket) -> None:
        with socket.create_connection(address) as service:
            threading.Thread(target=_pump, args=(service, client), daemon=True).start()
            _pump(client, service)

    return handle


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
