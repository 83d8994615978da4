"""The load generator: one thread, many keep-alive connections, in its own process.

It is not part of the measured system, so it is lean (about 0.1 ms of CPU per order) and its CPU is counted separately.
`post` and `get` start it. `python -m benchmarks.load` is that process: a Job as JSON on stdin, the result on stdout.
"""

from __future__ import annotations

import http.client
import json
import resource
import selectors
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.credentials import API_KEY

PROJECT = Path(__file__).resolve().parents[1]
ANSWER_WITHIN_S = 30  # longer than the Edge API ever takes for an order (two calls of 10 s)
ACCEPTED = 202


@dataclass(frozen=True)
class Response:
    """Times are in seconds, by this machine's clock, which is also PostgreSQL's."""

    order_ledger_id: str
    """Empty: the response is a list."""
    sent: float
    answered: float


@dataclass(frozen=True)
class Load:
    """The expected responses, the number of others by status, and the CPU that sending cost."""

    answers: Sequence[Response]
    others: dict[str, int]
    cpu_s: float

    @property
    def began(self) -> float:
        return min(answer.sent for answer in self.answers)

    @property
    def per_second(self) -> float:
        return len(self.answers) / (max(answer.answered for answer in self.answers) - self.began)

    @property
    def ms(self) -> list[float]:
        return [(answer.answered - answer.sent) * 1000 for answer in self.answers]


@dataclass(frozen=True)
class Job:
    """Each client sends again when answered, or after Retry-After. With `rate`, idle clients send at this rate."""

    url: str
    clients: int = 1
    rate: float | None = None
    seconds: float = 0
    """Seconds for which orders are posted."""
    products: Sequence[str] = ()
    """The product of each order, in turn."""
    paths: Sequence[str] = ()
    """Paths to GET, instead of orders to post."""
    api_key: str = API_KEY


def post(url: str, products: Sequence[str], seconds: float, *, clients: int = 1, rate: float | None = None) -> Load:
    """Send orders to the Edge API at `url` for some seconds."""
    return _run(Job(url, clients, rate, seconds, products))


def get(url: str, paths: Sequence[str]) -> Load:
    """Read these paths, one after the other."""
    return _run(Job(url, paths=paths))


def get_in_turn(*places: tuple[str, Sequence[str]]) -> list[list[float]]:
    """Read one path of each place, then the next one of each, so that a change of the machine's speed affects all.

    :param places: their addresses, and as many paths of each
    :returns: milliseconds, by place :raises RuntimeError: an answer was not 200
    """
    took: list[list[float]] = [[] for _ in places]
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(_connection(url))) for url, _ in places]
        for paths in zip(*(paths for _, paths in places), strict=True):
            for connection, path, ms in zip(connections, paths, took, strict=True):
                began = time.perf_counter()
                connection.request("GET", path, headers={"Authorization": f"Bearer {API_KEY}"})
                answer = connection.getresponse()
                answer.read()
                ms.append((time.perf_counter() - began) * 1000)
                if answer.status != http.HTTPStatus.OK:
                    raise RuntimeError(f"GET {path} was answered {answer.status}")
    return took


def _connection(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=ANSWER_WITHIN_S)


def _run(job: Job) -> Load:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        cwd=PROJECT,
        input=json.dumps(asdict(job)).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(done.stdout)
    return Load([Response(*each) for each in found["answers"]], found["others"], found["cpu_s"])


@dataclass
class _Connection:
    address: tuple[str, int]
    sent: float = 0
    arrived: bytes = b""
    rests_until: float = 0
    socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.socket = socket.create_connection(self.address, ANSWER_WITHIN_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> None:
        self.arrived, self.sent = b"", time.time()
        self.socket.sendall(request)

    def receive(self) -> tuple[int, bytes] | None:
        """Status and body; None while more is to come."""
        if not (received := self.socket.recv(65536)):
            raise ConnectionError("the connection was closed without a response")
        self.arrived += received
        head, _, body = self.arrived.partition(b"\r\n\r\n")
        length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        if not length or len(body) < int(length):
            return None
        pause_s = head.lower().partition(b"\r\nretry-after:")[2].partition(b"\r\n")[0]
        self.rests_until = time.time() + int(pause_s or 0)
        return int(head[9:12]), body


class _Shop:
    def __init__(self, job: Job) -> None:
        self._address = urlsplit(job.url)
        self._authorization = f"Authorization: Bearer {job.api_key}\r\n"
        self._requests = self._reads(job) if job.paths else self._orders(job)
        self._wanted = 200 if job.paths else ACCEPTED
        self._gap_s = 1 / job.rate if job.rate else 0.0
        self._selector = selectors.DefaultSelector()
        self._idle = deque(self._connect() for _ in range(job.clients))
        self._busy = 0
        self.answers: list[tuple[str, float, float]] = []
        self.others = Counter[int]()

    def run(self) -> None:
        request, due = next(self._requests, None), time.time()
        while request or self._busy:
            if request and self._idle and (wait_s := max(due, self._idle[0].rests_until) - time.time()) <= 0:
                connection = self._idle.popleft()
                connection.send(request)
                self._busy += 1
                request, due = next(self._requests, None), due + self._gap_s
            else:
                self._take_answers(wait_s if request and self._idle else ANSWER_WITHIN_S)

    def _take_answers(self, wait_s: float) -> None:
        ready = self._selector.select(wait_s)
        if not ready and wait_s == ANSWER_WITHIN_S:
            raise TimeoutError(f"no response within {ANSWER_WITHIN_S} s")
        for key, _ in ready:
            connection = key.data
            if answer := connection.receive():
                self._note(connection.sent, *answer)
                self._put_back(connection)
                self._busy -= 1

    def _put_back(self, connection: _Connection) -> None:
        """Queue it behind the others, unless the first of them rests longer."""
        if self._idle and self._idle[0].rests_until > max(connection.rests_until, time.time()):
            self._idle.appendleft(connection)
        else:
            self._idle.append(connection)

    def _note(self, sent: float, status: int, body: bytes) -> None:
        if status == self._wanted:
            self.answers.append((json.loads(body).get("order_ledger_id", ""), sent, time.time()))
        else:
            self.others[status] += 1

    def _connect(self) -> _Connection:
        connection = _Connection((self._address.hostname or "", self._address.port or 80))
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        return connection

    def _orders(self, job: Job) -> Iterator[bytes]:
        until, products, run = time.time() + job.seconds, cycle(job.products), uuid.uuid4().hex
        number = 0
        while number < job.rate * job.seconds if job.rate else time.time() < until:
            number += 1
            yield self._request("POST", "/orders", _order(next(products)), f"Idempotency-Key: {run}-{number}\r\n")

    def _reads(self, job: Job) -> Iterator[bytes]:
        for path in job.paths:
            yield self._request("GET", path, b"", "")

    def _request(self, method: str, path: str, body: bytes, headers: str) -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._address.netloc}\r\n{self._authorization}{headers}"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _order(product_id: str) -> bytes:
    order: dict[str, Any] = {
        "user_id": "5f0c1e0a-52cf-4f0a-9c0e-0f6d3b1c7a11",
        "email": "ada@shop.example",
        "items": [{"product_id": product_id, "quantity": 1}],
        "payment": {"method": "card", "token": "tok_visa"},
    }
    return json.dumps(order).encode()


def main() -> None:
    shop = _Shop(Job(**json.load(sys.stdin)))
    before = _cpu_s()
    shop.run()
    json.dump({"answers": shop.answers, "others": shop.others, "cpu_s": _cpu_s() - before}, sys.stdout)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
