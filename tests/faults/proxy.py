"""A network between our processes that fails by rule and records every call.

    proxy = Proxy({"payments_service": "http://127.0.0.1:8300"})
    proxy.on("capture", nth=3, do=DropAnswer())
    proxy.on("void", times=5, do=DropRequest())
    …
    assert len(proxy.calls("capture")) == 4

A call meets one of the faults in tests/faults/network_faults.py, or is passed on. Messages are passed on unchanged,
byte for byte.
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

# The calls of the contract, by name: the process that answers, the method, the path without the query.
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
AFTER_THE_SALE = {
    "ask_cancel": ("web", "POST", "/orders/[^/]+/cancel"),
    "ask_refund": ("web", "POST", "/orders/[^/]+/refunds"),
    "get_refund": ("web", "GET", "/refunds/[^/]+"),
    "list_orders": ("web", "GET", "/orders"),
    "events": ("web", "GET", "/events"),
    "restock": ("inventory_service", "POST", "/inventory/products/[^/]+/stock"),
}
NAMED = OPERATIONS | AFTER_THE_SALE
OTHER = "other"


@dataclass
class Call:
    """One request that the proxy received. Times are those of `time.monotonic()`."""

    operation: str
    path: str
    body: bytes
    arrived_at: float = field(default_factory=time.monotonic)
    fault: str = ""
    """The name of the fault that was applied; empty if the call was passed on."""
    statuses: list[int] = field(default_factory=list)
    """The participant's answers: none if it was not asked, two if it was asked twice."""
    code: str | None = None
    """The error code of the participant's last answer."""
    delivered_at: float | None = None
    ended_at: float | None = None
    """When the proxy finished with the call, whether or not it was delivered or answered."""

    @property
    def status(self) -> int | None:
        return self.statuses[-1] if self.statuses else None

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None

    def is_about(self, id_: str) -> bool:
        """Whether the id appears in the path or in the body."""
        return id_ in self.path or id_.encode() in self.body


class Exchange:
    """One call, which a fault may deliver, answer and hang up on, in any order."""

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
        """Send this to the caller, unless the caller has disconnected."""
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
    """What happens to a call. This base class does no harm: the call is delivered and answered."""

    def __call__(self, exchange: Exchange) -> None:
        exchange.reply(exchange.deliver().raw)

    def abandon(self) -> None:
        """Discard the held calls: they are never delivered."""


@dataclass
class Rule:
    operations: tuple[str, ...]
    do: Fault
    nth: int | None
    times: int | None
    about: str
    when: Callable[[Call], bool]
    seen: int = 0
    """How many calls matched."""
    met: int = 0
    """How many of them the rule was applied to."""

    def wants(self, call: Call) -> bool:
        names_operation = not self.operations or call.operation in self.operations
        if not (names_operation and call.is_about(self.about) and self.when(call)):
            return False
        self.seen += 1
        return self.nth in (None, self.seen) and (self.times is None or self.met < self.times)


class Proxy:
    """Listens in front of each of the named processes. Thread-safe; usable before and after they run."""

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
        """Apply a fault to these operations, or to all, from now on. The first matching rule wins.

        :param nth: only the nth such call from now on, counted from 1
        :param times: at most this many times
        :param about: only calls with this id in the path or the body
        :param when: only calls for which this is true; evaluated once for each call that matches so far
        """
        assert set(operations) <= {*NAMED, OTHER}, f"no such operation among {operations}"
        rule = Rule(operations, do, nth, times, about, when)
        with self._lock:
            self._rules.append(rule)
        return rule

    def calls(self, *operations: str, about: str = "") -> list[Call]:
        """Return the calls that arrived, first to last: of these operations, or all."""
        with self._lock:
            return [
                call
                for call in self._calls
                if (not operations or call.operation in operations) and call.is_about(about)
            ]

    def heal(self) -> None:
        """Drop all rules: from now on every call is passed on. Held calls are lost."""
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
        """The rules that no call has met. A test that leaves such a rule did not test what it meant to."""
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
    for operation, (target, its_method, its_path) in NAMED.items():
        if (name, method) == (target, its_method) and re.fullmatch(its_path, path):
            return operation
    return OTHER


def _in_thread(work: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
