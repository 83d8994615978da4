"""The real processes of the Procfile on free ports. A test can stop, kill and restart each of them."""

from __future__ import annotations

import os
import random
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import requests

from holdfast_client import HoldfastClient
from local import roles
from tests import credentials
from tests.faults.proxy import Proxy
from tests.waiting import eventually

PROJECT = Path(__file__).resolve().parents[2]
WEB_PROCESSES = ("web", "orders_service", "inventory_service", "payments_service")
WITH_PORTS = (*WEB_PROCESSES, "console")
LINES = dict(line.split(": ", 1) for line in (PROJECT / "Procfile").read_text().splitlines())
# Short delays, but a lease longer than any call in a test.
QUICK = {
    "APP_ENV": "test",
    "RETRY_BASE_S": "0.05",
    "RETRY_FACTOR": "2",
    "LEASE_S": "2",
    "ABANDONED_AFTER_S": "60",
    "POLL_INTERVAL_S": "0.5",
    "DECLINES_PER_HOUR": "0",  # tests decline more payments with one key
}
GIVEN_PORTS: set[int] = set()  # assigned to processes that may not listen yet


def free_port() -> int:
    """Find a port below those of outgoing connections, so that it stays free while its process is down."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            port = random.randrange(12_000, 32_000)
            probe.bind(("127.0.0.1", port))
            if port not in GIVEN_PORTS:
                GIVEN_PORTS.add(port)
                return port


class Stack:
    """Four web services and any number of orchestrators on one database.

    `proxied`: they call each other through `proxy`, which a test can make fail.
    """

    def __init__(self, database_url: str, logs: Path, *, proxied: bool = False, **environ: str) -> None:
        self._ports = {name: free_port() for name in WEB_PROCESSES}
        credentials.SERVICE_AT.update({port: name for name, port in self._ports.items()})
        self._logs = logs
        self._proxy = Proxy({name: self.url(name) for name in WEB_PROCESSES}) if proxied else None
        if self._proxy:
            credentials.SERVICE_AT |= {urlsplit(self._proxy.url(name)).port or 0: name for name in WEB_PROCESSES}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._database_url = database_url
        self._environ = {**os.environ, **QUICK, "PATH": path, "BIND_HOST": "127.0.0.1"}
        url_for_others = self._proxy.url if self._proxy else self.url
        self._environ |= {f"{name.upper()}_URL": url_for_others(name) for name in WEB_PROCESSES[1:]} | environ
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def proxy(self) -> Proxy:
        """The proxy between all processes, and in front of `web` for a client that uses `proxy.url("web")`."""
        assert self._proxy, "the stack was not started with proxied=True"
        return self._proxy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()

    def address(self, name: str) -> tuple[str, int]:
        return "127.0.0.1", self._ports[name]

    def url(self, name: str) -> str:
        """The process's own address, without the proxy. `web.2` is a second `web`."""
        return f"http://127.0.0.1:{self._ports[name]}"

    def start(self, *names: str, **environ: str) -> None:
        """Start processes by name (`orchestrator.2` is a second one) and wait until the services are healthy."""
        for name in names:
            self.launch(name, **environ)
        for name in names:
            eventually(lambda name=name: self.is_ready(name), 30)

    def launch(self, name: str, **environ: str) -> None:
        """Start a process without waiting for it. It has the address for its own role, on `DATABASE_URL` if given."""
        kind = name.partition(".")[0]
        if kind == "web":
            credentials.add_key_at(environ.get("DATABASE_URL", self._database_url))
        address = roles.address(environ.pop("DATABASE_URL", self._database_url), kind)
        port = {"PORT": str(self._ports.setdefault(name, free_port()))} if kind in WITH_PORTS else {}
        credentials.SERVICE_AT |= {self._ports[name]: kind} if port else {}
        with (self._logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                shlex.split(LINES[kind]),
                cwd=PROJECT,
                env={**self._environ, **address, **port, **environ},
                stdout=log,
                stderr=log,
            )

    def is_ready(self, name: str) -> bool:
        """Whether a service is healthy, or an orchestrator has started."""
        assert self.processes[name].poll() is None, self.log(name)
        if name not in self._ports:
            return f'"process_id": {self.processes[name].pid}' in self.log(name)
        try:
            return requests.get(f"{self.url(name)}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def kill(self, name: str) -> None:
        """Send SIGKILL to the process and its children (the workers of a gunicorn master)."""
        workers = self.workers(name)
        self.processes[name].kill()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        self.processes.pop(name).wait()

    def workers(self, name: str) -> list[int]:
        pid = self.processes[name].pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self, name: str, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code; fail after the guaranteed 25 s."""
        process = self.processes[name]
        process.send_signal(number)
        code = process.wait(25)
        del self.processes[name]
        return code

    def stop_all(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(25)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        if self._proxy:
            self._proxy.close()

    def log(self, name: str) -> str:
        path = self._logs / f"{name}.log"
        return path.read_text() if path.exists() else ""

    # What a shop does

    def client(self, name: str = "web", **options: Any) -> HoldfastClient:
        return HoldfastClient(self.url(name), **options)

    def product(self, stock: int = 1000, price_cents: int = 500, **more: Any) -> str:
        body = {
            "name": "Coffee",
            "sku": os.urandom(8).hex(),
            "price_cents": price_cents,
            "initial_stock": stock,
            **more,
        }
        response = requests.post(f"{self.url('inventory_service')}/inventory/products", json=body, timeout=10)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])


@contextmanager
def running(
    database_url: str, logs: Path, *, orchestrators: int = 1, proxied: bool = False, **environ: str
) -> Iterator[Stack]:
    with Stack(database_url, logs, proxied=proxied, **environ) as stack:
        stack.start(*WEB_PROCESSES, *(f"orchestrator.{number + 1}" for number in range(orchestrators)))
        yield stack
