"""Processes with metrics: the stack of tests/system/stack.py, and what each process answers at `/metrics`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from common.metrics.folder import PREFIX
from tests.system.stack import WEB_PROCESSES, Stack, free_port
from tests.system.test_webhooks import ON_THIS_MACHINE
from tests.waiting import eventually

SERVICE = "payments_service"
THREADS, WORKERS = 4, 2
ALL = (*WEB_PROCESSES, "orchestrator", "webhooks")
Samples = dict[str, float]


class Measured:
    """Processes with metrics."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.ports = {name: free_port() for name in (*ALL, "orchestrator.2")}

    def start(self, *names: str, **environ: str) -> None:
        """Start processes, each with its port, and wait until they are ready."""
        for name in names:
            self.launch(name, **environ)
        self.wait_for(*names)

    def launch(self, name: str, **environ: str) -> None:
        self.stack.launch(name, METRICS_PORT=str(self.ports[name]), **environ)

    def wait_for(self, *names: str) -> None:
        for name in names:
            eventually(lambda name=name: self.stack.is_ready(name), 60)

    def kill_worker(self, name: str) -> None:
        """Kill a gunicorn worker, and wait until another one is in its place."""
        workers = self.stack.workers(name)
        os.kill(workers[0], signal.SIGKILL)
        eventually(lambda: len(set(self.stack.workers(name)) - set(workers)) == 1)

    def scrape(self, name: str = SERVICE) -> Samples:
        """`name{label="value"}` → value"""
        response = requests.get(f"http://127.0.0.1:{self.ports[name]}/metrics", timeout=10)
        assert response.status_code == 200, response.text
        return {
            f"{sample.name.removeprefix('holdfast_')}{sorted(sample.labels.items())}": sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        }

    def total(self, prefix: str, name: str = SERVICE, *with_: str) -> float:
        """The sum of all samples whose name begins so, and that have these words."""
        found = self.scrape(name)
        return sum(
            value for key, value in found.items() if key.startswith(prefix) and all(word in key for word in with_)
        )

    def ask(self, times: int, path: str = "/nowhere") -> None:
        for _ in range(times):
            requests.get(f"{self.stack.url(SERVICE)}{path}", timeout=10)

    def folder(self) -> Path:
        pid = self.stack.processes[SERVICE].pid
        (lock,) = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if PREFIX in os.readlink(fd)}
        return Path(lock).parent


@pytest.fixture
def measured(url: str, tmp_path: Path) -> Iterator[Measured]:
    sizes = {"WEB_CONCURRENCY": str(WORKERS), "WEB_THREADS": str(THREADS)}
    with Stack(url, tmp_path, **sizes, **ON_THIS_MACHINE) as stack:
        yield Measured(stack)
