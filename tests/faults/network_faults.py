"""What the proxy may do with a call: lose, repeat, delay, cut or break it."""

from __future__ import annotations

import json
import threading
from typing import Any

from tests.faults.proxy import Exchange, Fault

PATIENCE_S = 60  # for what must happen; only a failing test waits so long


class DropRequest(Fault):
    """The participant never hears of it; the caller's connection is closed."""

    def __call__(self, exchange: Exchange) -> None:
        exchange.hang_up()


class DropAnswer(Fault):
    """The participant does it; the caller's connection is closed without a word."""

    def __call__(self, exchange: Exchange) -> None:
        exchange.deliver()
        exchange.hang_up()


class Repeat(Fault):
    """The participant gets it twice, one after the other. `gives`: which of the two answers the caller gets, 1 or 2."""

    def __init__(self, gives: int = 2) -> None:
        self._gives = gives

    def __call__(self, exchange: Exchange) -> None:
        answers = [exchange.deliver(), exchange.deliver()]
        exchange.reply(answers[self._gives - 1].raw)


class Cut(Fault):
    """Half of the answer, then the connection is closed."""

    def __call__(self, exchange: Exchange) -> None:
        answer = exchange.deliver()
        exchange.reply(answer.head + answer.body[: len(answer.body) // 2])
        exchange.hang_up()


class Corrupt(Fault):
    """The participant's own status, with another body: `{` as it comes, or text, or what `json` makes of it."""

    def __init__(self, body: Any = b"{") -> None:
        self._body = body if isinstance(body, bytes) else json.dumps(body).encode()

    def __call__(self, exchange: Exchange) -> None:
        exchange.reply(exchange.deliver().with_body(self._body).raw)


class Answer(Fault):
    """The participant never hears of it; something in between answers, with bytes as they are or a value as JSON."""

    def __init__(self, status: int, body: Any = b"") -> None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        self._raw = head.encode() + text

    def __call__(self, exchange: Exchange) -> None:
        exchange.reply(self._raw)


class Delay(Fault):
    """The request is held back for some seconds, or until `release`, and delivered even if its caller has gone.

    :param seconds: None: until `release`
    :param caller_gives_up: the caller's connection is closed at once, as if its patience had ended
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
        """Until a call is held back."""
        assert self._arrived.wait(PATIENCE_S), "no such call came"

    def release(self) -> None:
        """Let what is held back, and what is still to come, go."""
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
    """The participant does it at once; its answer is held back for some seconds, or until `release`."""

    def __call__(self, exchange: Exchange) -> None:
        answer = exchange.deliver()
        if self._caller_gives_up:
            exchange.hang_up()
        self._hold()
        exchange.reply(answer.raw)
