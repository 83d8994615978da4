"""Faults that the proxy can apply to a call: drop, repeat, delay, cut or corrupt it."""

from __future__ import annotations

import json
import threading
from typing import Any

from tests.faults.proxy import Exchange, Fault

PATIENCE_S = 60  # for something that must happen; only a failing test waits so long


class DropRequest(Fault):
    """The participant never receives the request; the caller's connection is closed."""

    def __call__(self, exchange: Exchange) -> None:
        exchange.hang_up()


class DropAnswer(Fault):
    """The participant executes the request; the caller's connection is closed without an answer."""

    def __call__(self, exchange: Exchange) -> None:
        exchange.deliver()
        exchange.hang_up()


class Repeat(Fault):
    """The participant receives the request twice. `gives` selects the answer that the caller gets, 1 or 2."""

    def __init__(self, gives: int = 2) -> None:
        self._gives = gives

    def __call__(self, exchange: Exchange) -> None:
        answers = [exchange.deliver(), exchange.deliver()]
        exchange.reply(answers[self._gives - 1].raw)


class Cut(Fault):
    """The caller gets half of the answer; then the connection is closed."""

    def __call__(self, exchange: Exchange) -> None:
        answer = exchange.deliver()
        exchange.reply(answer.head + answer.body[: len(answer.body) // 2])
        exchange.hang_up()


class Corrupt(Fault):
    """The caller gets the participant's status with another body: bytes as they are, any other value as JSON."""

    def __init__(self, body: Any = b"{") -> None:
        self._body = body if isinstance(body, bytes) else json.dumps(body).encode()

    def __call__(self, exchange: Exchange) -> None:
        exchange.reply(exchange.deliver().with_body(self._body).raw)


class Answer(Fault):
    """The proxy answers for the participant, which receives nothing: bytes as they are, any other value as JSON."""

    def __init__(self, status: int, body: Any = b"") -> None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        self._raw = head.encode() + text

    def __call__(self, exchange: Exchange) -> None:
        exchange.reply(self._raw)


class Delay(Fault):
    """The request is held back for some seconds, or until `release`, and delivered even if its caller has gone.

    :param seconds: None: until `release`
    :param caller_gives_up: close the caller's connection at once, as if the caller had timed out
    """

    def __init__(self, seconds: float | None = None, *, caller_gives_up: bool = False) -> None:
        self._seconds, self._caller_gives_up = seconds, caller_gives_up
        self._arrived, self._may_go = threading.Event(), threading.Event()
        self._is_abandoned = False

    def __call__(self, exchange: Exchange) -> None:
        if self._caller_gives_up:
            exchange.hang_up()
        self._hold()
        exchange.reply(exchange.deliver().raw)

    def wait(self) -> None:
        """Wait until a call is held back."""
        assert self._arrived.wait(PATIENCE_S), "no such call came"

    def release(self) -> None:
        """Deliver the held calls, and all later ones without delay."""
        self._may_go.set()

    def abandon(self) -> None:
        self._is_abandoned = True
        self.release()

    def _hold(self) -> None:
        self._arrived.set()
        self._may_go.wait(self._seconds)
        if self._is_abandoned:
            raise ConnectionAbortedError


class DelayAnswer(Delay):
    """The participant executes the request at once; its answer is held back for some seconds, or until `release`."""

    def __call__(self, exchange: Exchange) -> None:
        answer = exchange.deliver()
        if self._caller_gives_up:
            exchange.hang_up()
        self._hold()
        exchange.reply(answer.raw)
