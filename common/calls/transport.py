"""Sends `requests` requests to one service, at a fraction of the usual cost (docs/decisions/0014).

`requests` hands each request to an adapter. This one keeps a single connection alive and does what a call between our
services needs: no pool, no retries, no redirects, no proxies, no cookies, no compression.
"""

from __future__ import annotations

import socket
import ssl
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, ProtocolError, ReadTimeoutError, SSLError
from urllib3.util.wait import wait_for_read

RECEIVE_BYTES = 64 * 1024  # each of our answers fits
MAX_ANSWER_BYTES = 1024 * 1024  # including headers; ten times the prices of 50 products with the longest names


def trusting(ca_bundle: str = "") -> ssl.SSLContext:
    """How to verify servers, with the certificates in a file or folder.

    :param ca_bundle: empty: the certificates of `requests` and those of the system
    :raises OSError: they cannot be read (also as `ssl.SSLError`)
    """
    if ca_bundle:
        if Path(ca_bundle).is_dir():
            return ssl.create_default_context(capath=ca_bundle)
        return ssl.create_default_context(cafile=ca_bundle)
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    return context


class Transport(HTTPAdapter):
    """A `requests` adapter for one address. Not thread-safe: each thread has its own."""

    def __init__(self, base_url: str, tls: ssl.SSLContext | None = None) -> None:
        """:param tls: how to verify the server of an https:// address"""
        super().__init__()
        parts = urlsplit(base_url)
        self._connection = _Connection(str(parts.hostname), parts.port or (443 if tls else 80), parts.netloc, tls)

    def close(self) -> None:
        self._connection.close()
        super().close()

    # The steps of HTTPAdapter.send

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        return self._connection

    def cert_verify(self, *_: Any) -> None:
        """Do nothing: the connection has its own TLS context."""

    def request_url(self, request: requests.PreparedRequest, _: Any) -> str:
        return request.path_url

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        if not isinstance(resp, _Response):  # made by a test
            return super().build_response(req, resp)
        response = requests.Response()
        response.status_code, response.reason = resp.status, resp.reason
        response.headers.update(resp.headers)
        response.url, response.request = req.url or "", req
        response._content = bytes(resp.body)  # where `requests` looks before it reads `raw`
        return response


@dataclass
class _Response:
    status: int = 0
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    is_complete: bool = False


class _Connection:
    """One connection, opened when needed and used for one request after another."""

    def __init__(self, host: str, port: int, netloc: str, tls: ssl.SSLContext | None) -> None:
        self._address, self._netloc, self._tls = (host, port), netloc, tls
        self._socket: socket.socket | None = None

    def urlopen(
        self, method: str, url: str, body: bytes | str | None, headers: Any, timeout: Any, **_: Any
    ) -> _Response:
        """Send one request, once, and read the whole answer.

        :param timeout: urllib3's: for connecting, and from then on until the last byte of the answer
        :raises MaxRetryError, ReadTimeoutError, ProtocolError, SSLError, OSError: what `requests` expects of urllib3
        """
        try:
            sock = self._usable() or self._open(url, timeout.connect_timeout)
            return self._exchange(sock, self._as_bytes(method, url, body, headers), timeout.read_timeout)
        except TimeoutError:
            self.close()
            raise ReadTimeoutError(None, url, "no answer in time") from None  # type: ignore[arg-type]
        except ssl.SSLError as error:
            self.close()
            raise SSLError(error) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._socket:
            self._close()
        self._socket = None

    def _usable(self) -> socket.socket | None:
        """The open connection, unless it is readable: its other end has closed it or sent unsolicited data."""
        if self._socket and wait_for_read(self._socket, timeout=0):
            self.close()
        return self._socket

    def _open(self, url: str, timeout_s: float) -> socket.socket:
        deadline = time.monotonic() + timeout_s
        try:
            self._socket = socket.create_connection(self._address, timeout_s)
            self._close_with_owner(self._socket)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                self._socket.settimeout(_seconds_until(deadline))
                self._close.detach()
                self._socket = self._tls.wrap_socket(self._socket, server_hostname=self._address[0])
                self._close_with_owner(self._socket)
        except TimeoutError as error:
            raise MaxRetryError(None, url, ConnectTimeoutError(error)) from None  # type: ignore[arg-type]
        self._parser = HttpResponseParser(self)
        return self._socket

    def _close_with_owner(self, sock: socket.socket) -> None:
        """Close the socket when this object is deleted, as nothing notifies us when its thread exits.

        Not when the process exits: a web worker's threads may still be sending then, and would answer with a 500.
        """
        self._close = weakref.finalize(self, sock.close)
        self._close.atexit = False

    def _as_bytes(self, method: str, url: str, body: bytes | str | None, headers: Any) -> bytes:
        content = body.encode() if isinstance(body, str) else body or b""
        lines = [f"{method} {url} HTTP/1.1", f"Host: {self._netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join((*lines, "", "")).encode("latin-1") + content

    def _exchange(self, sock: socket.socket, request: bytes, within_s: float) -> _Response:
        deadline = time.monotonic() + within_s
        sock.settimeout(within_s)
        sock.sendall(request)
        self._response = _Response()
        received = 0
        while not self._response.is_complete:
            sock.settimeout(_seconds_until(deadline))
            piece = sock.recv(RECEIVE_BYTES)
            received += len(piece)
            if not piece:
                raise ProtocolError("the connection was closed before the answer was complete")
            if received > MAX_ANSWER_BYTES:
                raise ProtocolError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
            try:
                self._parser.feed_data(piece)
            except (HttpParserError, HttpParserUpgrade) as error:
                raise ProtocolError(f"not HTTP: {error}") from None
        return self._response

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._response.is_complete:
            raise ProtocolError("more than one answer")  # it is unclear which belongs to this request

    def on_status(self, reason: bytes) -> None:
        self._response.reason = reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._response.headers[name.decode("latin-1")] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._response.body += body

    def on_message_complete(self) -> None:
        self._response.status = self._parser.get_status_code()
        if self._response.status < 200:  # such as "100 Continue": the answer follows
            self._response = _Response()
            return
        self._response.is_complete = True
        if not self._parser.should_keep_alive():
            self.close()


def _seconds_until(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)  # a timeout of 0 would make the socket non-blocking
