"""The real processes of the Procfile on free ports, and the CPU time and memory of a process and its children."""

from __future__ import annotations

import http.client
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import credentials
from local import roles

PROJECT = Path(__file__).resolve().parents[1]
WEB = ("web", "orders_service", "inventory_service", "payments_service")
ORCHESTRATOR = "orchestrator"
CONSOLE = "console"
ALL = (*WEB, ORCHESTRATOR)
WITH_PORTS = (*WEB, CONSOLE)
START_WITHIN_S = 30
STOP_WITHIN_S = 30  # the promise is 25
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ProcessDied(Exception):
    """A measured process exited. The message has the end of its log."""


class System:
    """The five processes on one database, with the product's default settings unless `environ` has others.

    :param folder: for their logs
    :param checkout: the folder whose code is run
    :param has_metrics: each process has a `/metrics`
    """

    def __init__(
        self,
        database_url: str,
        folder: Path,
        environ: Mapping[str, str] | None = None,
        *,
        checkout: Path = PROJECT,
        has_metrics: bool = False,
    ) -> None:
        self._folder, self._checkout, self._database_url = folder, checkout, database_url
        self._commands = commands(checkout)
        self._ports = {name: free_port() for name in WITH_PORTS}
        self._metrics_ports = {name: free_port() for name in ALL} if has_metrics else {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environ = environ_of(checkout, database_url) | {"BIND_HOST": "127.0.0.1", **(environ or {})}
        self._environ |= {f"{name.upper()}_URL": self.url(name) for name in WEB[1:]}
        self._environ |= roles.addresses(database_url)  # a checkout without roles ignores them

    def __enter__(self) -> System:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.terminate()
        for name in list(self._processes):
            self._end(name)

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._processes.items()}

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"

    def metrics_url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._metrics_ports[name]}/metrics"

    def start(self, *names: str) -> System:
        """Start processes and wait until the web services are healthy."""
        if "web" in names:
            credentials.add_key(self._database_url)
        for name in names:
            self._launch(name)
        deadline = time.monotonic() + START_WITHIN_S
        for name in names:
            while name in WITH_PORTS and not _is_healthy(self._ports[name]):
                self.check()
                if time.monotonic() > deadline:
                    raise ProcessDied(f"{name} is not healthy after {START_WITHIN_S} s:\n{self._log_end(name)}")
                time.sleep(0.02)
        return self

    def stop(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGTERM)
        self._end(name)

    def check(self) -> None:
        """:raises ProcessDied: if one has exited"""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise ProcessDied(f"{name} exited with {process.returncode}:\n{self._log_end(name)}")

    def add_products(self, count: int) -> list[str]:
        """Create products with more stock than a run can sell. :returns: their ids"""
        made = []
        for _ in range(count):
            body = {"name": "Coffee", "sku": os.urandom(8).hex(), "price_cents": 500, "initial_stock": 100_000_000}
            status, answer = _ask(self._ports["inventory_service"], "POST", "/inventory/products", json.dumps(body))
            if status != 201:
                raise ProcessDied(f"inventory_service answered {status} to a new product")
            made.append(str(answer["id"]))
        return made

    def _launch(self, name: str) -> None:
        port = {"PORT": str(self._ports[name])} if name in WITH_PORTS else {}
        port |= {"METRICS_PORT": str(self._metrics_ports[name])} if name in self._metrics_ports else {}
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                shlex.split(self._commands[name]),
                cwd=self._checkout,
                env=self._environ | port,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _end(self, name: str) -> None:
        process = self._processes.pop(name)
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _log_end(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text(errors="replace")[-2000:]


def python_of(checkout: Path) -> Path:
    """The interpreter of the checkout's own environment if it has one, else ours."""
    own = checkout / ".venv" / "bin" / "python"
    return own if own.exists() else Path(sys.executable)


def commands(checkout: Path) -> dict[str, str]:
    """The lines of the Procfile, by name."""
    return dict(line.split(": ", 1) for line in (checkout / "Procfile").read_text().splitlines())


def environ_of(checkout: Path, database_url: str) -> dict[str, str]:
    """The environment that runs the checkout's code."""
    path = f"{python_of(checkout).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    # PYTHONPATH precedes the installed package, which may come from another folder.
    return {**os.environ, "PATH": path, "PYTHONPATH": str(checkout), "DATABASE_URL": database_url} | {
        "SERVICE_TOKEN_KEYS": credentials.TOKEN_KEY
    }


def migrate(checkout: Path, database_url: str) -> None:
    """Create the tables of the checkout's version. :raises ProcessDied:"""
    command, environ = shlex.split(commands(checkout)["release"]), environ_of(checkout, database_url)
    done = subprocess.run(command, cwd=checkout, env=environ, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ProcessDied(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr[-2000:]}")


def free_port() -> int:
    """A port below the range of outgoing connections, so that none of these takes it in the meantime."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            port = random.randrange(12_000, 32_000)
            probe.bind(("127.0.0.1", port))
            return port


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its descendants, including those that have exited; to a hundredth of a second."""
    return sum(_cpu_ticks(each) for each in _tree(pid)) / TICKS_PER_S


def memory_mb(pid: int) -> float:
    """Proportional set size of a process and its descendants: a page that n processes share counts 1/n."""
    return sum(_pss_kb(each) for each in _tree(pid)) / 1024


def _tree(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):  # the process has just exited
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from _tree(int(child))


def _cpu_ticks(pid: int) -> int:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(ticks) for ticks in fields[11:15])  # utime and stime, its own and those of its exited children
    return 0


def _pss_kb(pid: int) -> int:
    for path, name in ((f"/proc/{pid}/smaps_rollup", "Pss:"), (f"/proc/{pid}/status", "VmRSS:")):
        with suppress(OSError):  # without permission, use the resident size, which counts shared pages in full
            return next(int(line.split()[1]) for line in Path(path).read_text().splitlines() if line.startswith(name))
    return 0


def _is_healthy(port: int) -> bool:
    try:
        return _ask(port, "GET", "/health")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def _ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = credentials.of_operator("inventory_service")  # the only service that is asked
        connection.request(method, path, body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()
