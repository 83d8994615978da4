"""Sends one delivery: one request on its own connection, to an address that was checked.

No redirects, no proxies, no cookies, no compression, and nothing from the environment.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from common.json_text.storable import storable
from common.webhooks.deliveries import MAX_RESPONSE_CHARACTERS
from webhooks.addresses import Address, AddressRefused, Network, addresses_of
from webhooks.delivery import Answer, NoAnswer, Outcome

CONNECT_WITHIN_S = 5.0  # for each address; the limit of the whole attempt counts as well
RECEIVE_BYTES = 16 * 1024
MAX_HEADER_BYTES = 64 * 1024
KEPT_BYTES = MAX_RESPONSE_CHARACTERS
DEFAULT_PORTS = {"http": 80, "https": 443}


class NotHttp(Exception):
    """The receiver sent something else."""


# The first that fits. Each is a sentence for the owner of the endpoint.
REASONS: dict[type[Exception], str] = {
    AddressRefused: "{error}.",
    TimeoutError: "No answer came within {timeout_s:g} s.",
    ssl.SSLCertVerificationError: "The certificate is not trusted: {error.verify_message}.",
    ssl.SSLError: "The TLS connection failed: {error.reason}.",
    socket.gaierror: "The host {host} cannot be resolved.",
    HttpParserError: "The answer is not HTTP: {error}.",
    HttpParserUpgrade: "The answer is not HTTP: it changes the protocol.",
    NotHttp: "The answer is not HTTP: {error}.",
    OSError: "The connection failed: {error}.",
    ValueError: "The address cannot be used.",
}
PROBLEMS = tuple(REASONS)

Resolve = Callable[[str, int, Sequence[Network]], list[Address]]


class Sender:
    """Posts to the URLs of endpoints. Thread-safe."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        allowed: Sequence[Network],
        timeout_s: float,
        *,
        only_https: bool = False,
        resolve: Resolve = addresses_of,
    ) -> None:
        """
        :param tls: how to verify receivers
        :param allowed: networks that are not public and may be used
        :param timeout_s: for one attempt, from the name to the last header
        """
        self._tls, self._allowed, self._timeout_s = tls, allowed, timeout_s
        self._only_https, self._resolve = only_https, resolve

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send one request, once. Never raises because of the network or the receiver."""
        deadline = time.monotonic() + self._timeout_s
        parts = urlsplit(url)
        if self._only_https and parts.scheme != "https":
            return NoAnswer("Only https:// addresses are allowed where APP_ENV is production.", True)
        try:
            with self._connect(parts, deadline) as connection:
                return _exchange(connection, _request(parts, headers, body), deadline)
        except PROBLEMS as error:
            text = next(text for kind, text in REASONS.items() if isinstance(error, kind))
            reason = storable(text.format(error=error, host=parts.hostname, timeout_s=self._timeout_s))
            return NoAnswer(reason, isinstance(error, AddressRefused))

    def _connect(self, parts: SplitResult, deadline: float) -> socket.socket:
        host, port = str(parts.hostname), parts.port or DEFAULT_PORTS[parts.scheme]
        connection = _first_that_answers(self._resolve(host, port, self._allowed), port, deadline)
        if parts.scheme != "https":
            return connection
        try:
            connection.settimeout(_left(deadline))
            return self._tls.wrap_socket(connection, server_hostname=host)  # the name, not the address
        except BaseException:
            connection.close()
            raise


def _first_that_answers(addresses: Sequence[Address], port: int, deadline: float) -> socket.socket:
    """Connect to one of the addresses. None is resolved again."""
    problem: OSError = OSError("no address")
    for address in addresses:
        try:
            return socket.create_connection((str(address), port), min(_left(deadline), CONNECT_WITHIN_S))
        except TimeoutError:
            problem = ConnectionError("the host does not answer")
        except OSError as error:
            problem = error
    raise problem


def _request(parts: SplitResult, headers: Mapping[str, str], body: bytes) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "Connection: close"]
    if any(set(line) & set("\r\n\0") for line in lines) or " " in target or "@" in parts.netloc:
        raise OSError("the address has characters that cannot be sent")
    return "\r\n".join((*lines, "", "")).encode("ascii") + body


class _Response:
    """What was received of the answer. The parser calls the methods."""

    def __init__(self) -> None:
        self.parser = HttpResponseParser(self)
        self.status, self.body = 0, bytearray()
        self.has_headers = self.is_complete = False

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.has_headers = self.status >= 200  # such as "100 Continue": the answer follows

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = self.has_headers

    @property
    def is_enough(self) -> bool:
        return self.is_complete or len(self.body) >= KEPT_BYTES


def _exchange(connection: socket.socket, request: bytes, deadline: float) -> Answer:
    """Send the request, and read the status and the first bytes of the body.

    The status is the answer. A body that does not come in time, or breaks off, changes nothing.
    """
    connection.settimeout(_left(deadline))
    with suppress(BrokenPipeError, ConnectionResetError):  # the receiver may have answered without reading all
        connection.sendall(request)
    response = _Response()
    try:
        _receive(connection, response, deadline)
    except (OSError, HttpParserError, HttpParserUpgrade):
        if not response.has_headers:
            raise
    text = storable(bytes(response.body[:KEPT_BYTES]).decode("utf-8", "replace"), MAX_RESPONSE_CHARACTERS)
    return Answer(response.status, text)


def _receive(connection: socket.socket, response: _Response, deadline: float) -> None:
    received = 0
    while not response.is_enough:
        connection.settimeout(_left(deadline))
        piece = connection.recv(RECEIVE_BYTES)
        received += len(piece)
        if not piece:
            raise ConnectionError("it was closed before the answer was complete")
        response.parser.feed_data(piece)
        if received > MAX_HEADER_BYTES and not response.has_headers:
            raise NotHttp(f"its headers have more than {MAX_HEADER_BYTES} bytes")


def _left(deadline: float) -> float:
    """Seconds until the deadline. :raises TimeoutError: it is over"""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
