"""A network between our processes that fails by rule, and remembers every call.

    proxy = Proxy({"payments_service": "http://127.0.0.1:8300"})
    proxy.on("capture", nth=3, do=DropAnswer())
    proxy.on("void", times=5, do=DropRequest())
    …
    assert len(proxy.calls("capture")) == 4

What becomes of a call is one of the faults in tests/faults/network_faults.py, or that it is passed on. Messages go
through as they are, byte for byte.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.faults.wire import Message, ParticipantConnection, read_message

# The calls of the contract, by name: who answers it, its method, its path without the query.
OPERATIONS = {
    "place_order": ("web", "POST", "/orders"),
    "get_order": ("web", "GET", "/orders/[^/]+"),
    "create_order": ("orders_service", "POST", "/orders"),
    "confirm_order": ("orders_service", "PUT", "/orders/[^/]+/confirm"),
    "cancel_order": ("orders_service", "PUT", "/orders/[^/]+/cancel"),
    "prices": ("inventory_service", "GET", "/inventory/products"),
    "reserve": ("inventory_service", "POST", "/inventory/reservations"),
    "release": ("inventory_service", "DELETE", "/inventory/reservations/[^/]+"),
    "authorize": ("payments_service", "POST", "/payments/authorize"),
    "capture": ("payments_service", "POST", "/payments/capture/[^/]+"),
    "void": ("payments_service", "POST", "/payments/void/[^/]+"),
    "void_by_key": ("payments_service", "POST", "/payments/void"),
    "refund": ("payments_service", "POST", "/payments/refund/[^/]+"),
}
OTHER = "other"


@dataclass
class Call:
    """One request that came to the proxy. Times are of `time.monotonic()`."""

    operation: str
    path: str
    body: bytes
    arrived_at: float = field(default_factory=time.monotonic)
    fault: str = ""
    """What was done with it, by the fault's name; empty: passed on."""
    statuses: list[int] = field(default_factory=list)
    """What the participant answered: nothing where it was not asked, two where it was asked twice."""
    code: str | None = None
    """The error code of the participant's last answer."""
    delivered_at: float | None = None
    ended_at: float | None = None
    """When all was done with it: the caller has the answer, or none, and the participant has been asked or will not."""

    @property
    def status(self) -> int | None:
        return self.statuses[-1] if self.statuses else None

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None

    def is_about(self, id_: str) -> bool:
        """Whether the id stands in the path or in the body."""
        return id_ in self.path or id_.encode() in self.body


class Exchange:
    """One call in the hands of a fault, which may deliver it, answer it and hang up, in any order."""

    def __init__(self, call: Call, request: Message, caller: socket.socket, participant: ParticipantConnection) -> None:
        self.call, self._request, self._caller, self._participant = call, request, caller, participant
        self.has_hung_up = False

    def deliver(self) -> Message:
        """Ask the participant. :raises ParticipantGone: it did not answer"""
        self.call.delivered_at = self.call.delivered_at or time.monotonic()
        answer = self._participant.ask(self._request)
        self.call.statuses.append(answer.status)
        self.call.code = answer.error_code
        return answer

    def reply(self, raw: bytes) -> None:
        """Give this to the caller, unless it has gone."""
        if not self.has_hung_up:
            try:
                self._caller.sendall(raw)
            except OSError:
                self.hang_up()

    def hang_up(self) -> None:
        """Close the caller's connection."""
        self.has_hung_up = True
        _shut(self._caller)


class Fault:
    """What becomes of a call. This one is none: it is delivered and answered."""

    def __call__(self, exchange: Exchange) -> None:
        exchange.reply(exchange.deliver().raw)

    def abandon(self) -> None:
        """Let go of what is held back, for good: it is not delivered any more."""


@dataclass
class Rule:
    operations: tuple[str, ...]
    do: Fault
    nth: int | None
    times: int | None
    about: str
    when: Callable[[Call], bool]
    seen: int = 0
    """How many calls were of its kind."""
    met: int = 0
    """How many of them it took."""

    def wants(self, call: Call) -> bool:
        is_of_its_kind = not self.operations or call.operation in self.operations
        if not (is_of_its_kind and call.is_about(self.about) and self.when(call)):
            return False
        self.seen += 1
        return self.nth in (None, self.seen) and (self.times is None or self.met < self.times)


class Proxy:
    """Listens before each of the named processes. Thread-safe; usable before and after they run."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._calls: list[Call] = []
        self._sockets: set[socket.socket] = set()
        self._listeners = {name: socket.create_server(("127.0.0.1", 0), backlog=512) for name in targets}
        for name, url in targets.items():
            _in_thread(self._accept, name, (str(urlsplit(url).hostname), int(urlsplit(url).port or 80)))

    def url(self, name: str) -> str:
        """Where to call the process instead of at its own address."""
        return f"http://127.0.0.1:{self._listeners[name].getsockname()[1]}"

    def on(
        self,
        *operations: str,
        do: Fault,
        nth: int | None = None,
        times: int | None = None,
        about: str = "",
        when: Callable[[Call], bool] = lambda _: True,
    ) -> Rule:
        """From now on do this with these operations, or with all. Of several rules that fit, the first counts.

        :param nth: only with the nth such call since now, from 1
        :param times: only so many times
        :param about: only where this id is in the path or the body
        :param when: only where this is true; it is asked once for each call that fits so far
        """
        assert set(operations) <= {*OPERATIONS, OTHER}, f"no such operation among {operations}"
        rule = Rule(operations, do, nth, times, about, when)
        with self._lock:
            self._rules.append(rule)
        return rule

    def calls(self, *operations: str, about: str = "") -> list[Call]:
        """What has arrived, first to last: of these operations, or all."""
        with self._lock:
            return [
                call
                for call in self._calls
                if (not operations or call.operation in operations) and call.is_about(about)
            ]

    def heal(self) -> None:
        """Forget all rules: from now on all is passed on. What was held back is lost."""
        with self._lock:
            rules, self._rules = self._rules, []
        for rule in rules:
            rule.do.abandon()

    def forget(self) -> None:
        """Forget all calls."""
        with self._lock:
            self._calls = []

    @property
    def unmet(self) -> list[Rule]:
        """The rules that no call has met: a test that made them has not tested what it wanted."""
        with self._lock:
            return [rule for rule in self._rules if not rule.met]

    def close(self) -> None:
        self.heal()
        with self._lock:
            sockets = [*self._listeners.values(), *self._sockets]
        for each in sockets:
            _shut(each)
            each.close()

    def _accept(self, name: str, address: tuple[str, int]) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listeners[name].accept()
                _in_thread(self._serve, name, address, caller)

    def _serve(self, name: str, address: tuple[str, int], caller: socket.socket) -> None:
        """One connection, for as long as the caller keeps it."""
        participant = ParticipantConnection(address)
        with self._lock:
            self._sockets.add(caller)
        with suppress(OSError), caller.makefile("rb") as stream:
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (request := read_message(stream)) and self._handle(name, request, caller, participant):
                pass
        with self._lock:
            self._sockets.discard(caller)
        participant.close()
        caller.close()

    def _handle(self, name: str, request: Message, caller: socket.socket, participant: ParticipantConnection) -> bool:
        """:returns: whether the connection is still open"""
        method, path, _ = request.first_line
        call = Call(_operation(name, method, path), path, request.body)
        with self._lock:
            self._calls.append(call)
            rule = next(iter([rule for rule in self._rules if rule.wants(call)]), None)  # all of them count it
            if rule:
                rule.met += 1
        exchange = Exchange(call, request, caller, participant)
        call.fault = type(rule.do).__name__ if rule else ""
        try:
            (rule.do if rule else Fault())(exchange)
        except OSError:
            exchange.hang_up()
        call.ended_at = time.monotonic()
        return not exchange.has_hung_up


def _operation(name: str, method: str, path: str) -> str:
    path = path.partition("?")[0]
    for operation, (target, its_method, its_path) in OPERATIONS.items():
        if (name, method) == (target, its_method) and re.fullmatch(its_path, path):
            return operation
    return OTHER


def _in_thread(work: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
