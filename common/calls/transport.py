"""What carries a `requests` request to another service, at a fraction of the usual cost (docs/decisions/0014).

`requests` hands each request to an adapter. This one has a single connection, kept alive, and does for a request what
a service's call needs and nothing more: no pool, no retries, no redirects, no proxies, no cookies, no compression.
"""

from __future__ import annotations

import socket
import time
import weakref
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, ProtocolError, ReadTimeoutError
from urllib3.util.wait import wait_for_read

RECEIVE_BYTES = 64 * 1024  # an answer of any of our calls comes in one piece


class Transport(HTTPAdapter):
    """A `requests` adapter for one http:// address. Not thread-safe: each thread has its own."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        parts = urlsplit(base_url)
        self._connection = _Connection(str(parts.hostname), parts.port or 80, parts.netloc)

    def close(self) -> None:
        self._connection.close()
        super().close()

    # The steps of HTTPAdapter.send

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        return self._connection

    def cert_verify(self, *_: Any) -> None:
        """There is no certificate."""

    def request_url(self, request: requests.PreparedRequest, _: Any) -> str:
        return request.path_url

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        if not isinstance(resp, _Answer):  # a test's
            return super().build_response(req, resp)
        response = requests.Response()
        response.status_code, response.reason = resp.status, resp.reason
        response.headers.update(resp.headers)
        response.url, response.request = req.url or "", req
        response._content = resp.body  # what else would be read from `raw`
        return response


@dataclass
class _Answer:
    status: int = 0
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_whole: bool = False


class _Connection:
    """One connection, opened when needed, and used for one request after the other."""

    def __init__(self, host: str, port: int, netloc: str) -> None:
        self._address, self._netloc = (host, port), netloc
        self._socket: socket.socket | None = None

    def urlopen(self, method: str, url: str, body: bytes | str | None, headers: Any, timeout: Any, **_: Any) -> _Answer:
        """Send one request, once, and read the whole answer.

        :param timeout: urllib3's: for connecting, and from then on until the answer is here to the last byte
        :raises MaxRetryError, ReadTimeoutError, ProtocolError, OSError: as `requests` knows them from urllib3
        """
        sock = self._usable() or self._open(url, timeout.connect_timeout)
        try:
            return self._exchange(sock, self._as_bytes(method, url, body, headers), timeout.read_timeout)
        except TimeoutError:
            self.close()
            raise ReadTimeoutError(None, url, "no answer in time") from None  # type: ignore[arg-type]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._socket:
            self._close()
        self._socket = None

    def _usable(self) -> socket.socket | None:
        """The open connection, unless it can be read: then its other end has closed it."""
        if self._socket and wait_for_read(self._socket, timeout=0):
            self.close()
        return self._socket

    def _open(self, url: str, timeout_s: float) -> socket.socket:
        try:
            self._socket = socket.create_connection(self._address, timeout_s)
        except TimeoutError as error:
            raise MaxRetryError(None, url, ConnectTimeoutError(error)) from None  # type: ignore[arg-type]
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._close = weakref.finalize(self, self._socket.close)  # a thread that ends does not say so
        self._parser = HttpResponseParser(self)
        return self._socket

    def _as_bytes(self, method: str, url: str, body: bytes | str | None, headers: Any) -> bytes:
        content = body.encode() if isinstance(body, str) else body or b""
        lines = [f"{method} {url} HTTP/1.1", f"Host: {self._netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join((*lines, "", "")).encode("latin-1") + content

    def _exchange(self, sock: socket.socket, request: bytes, within_s: float) -> _Answer:
        deadline = time.monotonic() + within_s
        sock.settimeout(within_s)
        sock.sendall(request)
        self._answer = _Answer()
        while not self._answer.is_whole:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))  # 0 would mean: do not wait at all
            piece = sock.recv(RECEIVE_BYTES)
            if not piece:
                raise ProtocolError("the connection was closed before the answer was whole")
            try:
                self._parser.feed_data(piece)
            except (HttpParserError, HttpParserUpgrade) as error:
                raise ProtocolError(f"not HTTP: {error}") from None
        return self._answer

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._answer.is_whole:
            raise ProtocolError("more than one answer")  # which of them is to this request?

    def on_status(self, reason: bytes) -> None:
        self._answer.reason = reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.decode("latin-1")] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._answer.body += body

    def on_message_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        if self._answer.status < 200:  # "100 Continue" or the like: the answer is yet to come
            self._answer = _Answer()
            return
        self._answer.is_whole = True
        if not self._parser.should_keep_alive():
            self.close()
