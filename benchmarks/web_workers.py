"""Compare the two web workers: the payments service alone, CPU and requests per second.

Both services run during the whole comparison and are measured in turn. A table of medians is printed:

    .venv/bin/python -m benchmarks.web_workers
"""

from __future__ import annotations

import http.client
import json
import os
import tempfile
import time
import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from benchmarks.processes import PROJECT, System, cpu_seconds, migrate
from local.postgres import EmbeddedPostgres

WORKERS = ("holdfast", "gthread")
SERVICE = "payments_service"
CONNECTIONS = (1, 8)
ROUNDS, REQUESTS = 5, 1200
QUIET = {"WEB_CONCURRENCY": "2", "WEB_THREADS": "8", "LOG_LEVEL": "WARNING"}
CALLS = ("GET /live", "POST /payments/authorize")


def ask(connection: http.client.HTTPConnection, call: str) -> None:
    """:raises RuntimeError: where the response is not 200"""
    method, path = call.split()
    body = {"user_id": str(uuid.uuid4()), "amount_cents": 1, "currency": "USD", "payment_token": "tok_visa"}
    content = json.dumps(body | {"idempotency_key": uuid.uuid4().hex}) if method == "POST" else None
    connection.request(method, path, content, {"Content-Type": "application/json"} if content else {})
    response = connection.getresponse()
    response.read()
    if response.status != 200:
        raise RuntimeError(f"{call} was answered with {response.status}")


def client(url: str, call: str, count: int) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    for _ in range(count):
        ask(connection, call)
    connection.close()


def measure(system: System, call: str, connections: int) -> tuple[float, float]:
    """:returns: microseconds of the service's CPU for each request, and requests per second"""
    pid, count = system.pids[SERVICE], REQUESTS // connections
    cpu, began = cpu_seconds(pid), time.monotonic()
    with ThreadPoolExecutor(connections) as clients:
        list(clients.map(partial(client, system.url(SERVICE), call), [count] * connections))
    taken = time.monotonic() - began
    return (cpu_seconds(pid) - cpu) / REQUESTS * 1e6, REQUESTS / taken


def main() -> None:
    found: dict[tuple[str, int, str], list[tuple[float, float]]] = defaultdict(list)
    load = [os.getloadavg()[0]]
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
        ExitStack() as all_,
    ):
        migrate(PROJECT, server.url)
        systems = {}
        for worker in WORKERS:
            (logs := Path(folder) / worker).mkdir()
            systems[worker] = all_.enter_context(System(server.url, logs, QUIET | {"WEB_WORKER": worker}))
            systems[worker].start(SERVICE)
        for number in range(ROUNDS + 1):
            for call in CALLS:
                for connections in CONNECTIONS:
                    for worker in WORKERS[:: 1 if number % 2 else -1]:
                        result = measure(systems[worker], call, connections)
                        if number:  # the first round warms up
                            found[call, connections, worker].append(result)
            load.append(os.getloadavg()[0])
    print(f"{ROUNDS} rounds of {REQUESTS} requests; load average {min(load):.1f} to {max(load):.1f} with ours")
    for (call, connections, worker), results in found.items():
        cpu, rate = (median(values) for values in zip(*results, strict=True))
        print(f"{call}, {connections} connections, {worker}: {cpu:.0f} µs of CPU, {rate:.0f} requests/s")


if __name__ == "__main__":
    main()
