"""`/metrics` of the real processes: right with several workers, and also when some of them are killed."""

from __future__ import annotations

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event

import pytest
import requests

from common.metrics.folder import PREFIX
from tests.system.measured import SERVICE, THREADS, WORKERS, Measured, measured
from tests.waiting import eventually

__all__ = ["measured"]  # a fixture


def test_killed_workers_take_no_counts_with_them(measured: Measured) -> None:
    measured.start(SERVICE)
    name = "http_requests_total"
    asked, stop = 0, Event()

    def watch() -> list[float]:
        seen = []
        while not stop.is_set():
            with suppress(requests.ConnectionError, requests.exceptions.ChunkedEncodingError):  # of the killed worker
                seen.append(measured.total(name, SERVICE, "(none)"))
        return seen

    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(watch)
        for _ in range(4):
            measured.ask(20)
            asked += 20
            workers = measured.stack.workers(SERVICE)
            os.kill(workers[0], signal.SIGKILL)
            eventually(lambda known=workers: len(set(measured.stack.workers(SERVICE)) - set(known)) == 1)
            eventually(lambda: measured.stack.is_ready(SERVICE))
        stop.set()
        seen = watched.result(30)
    assert measured.total(name, SERVICE, "(none)") == asked
    assert seen == sorted(seen)
    found = measured.scrape()
    assert found["http_request_duration_seconds_count[('route', '(none)'), ('service', 'payments_service')]"] == asked
    eventually(lambda: measured.total("pool_connections") == WORKERS * THREADS)
    assert len(list(measured.folder().glob("*.db"))) <= 3 * (WORKERS + 1)


def test_reload_keeps_the_counts(measured: Measured) -> None:
    measured.start(SERVICE)
    measured.ask(10)
    workers = set(measured.stack.workers(SERVICE))
    os.kill(measured.stack.processes[SERVICE].pid, signal.SIGHUP)
    eventually(lambda: not workers & set(measured.stack.workers(SERVICE)), 30)
    eventually(lambda: measured.stack.is_ready(SERVICE))
    measured.ask(10)
    assert measured.total("http_requests_total", SERVICE, "(none)") == 20


def test_start_begins_with_an_empty_folder_and_the_end_removes_it(measured: Measured) -> None:
    measured.start(SERVICE)
    measured.ask(5)
    left = measured.folder()
    measured.stack.kill(SERVICE)
    assert left.exists()
    measured.start(SERVICE)
    assert not left.exists()
    assert measured.total("http_requests_total", SERVICE, "(none)") == 0
    own = measured.folder()
    assert measured.stack.stop(SERVICE) == 0
    assert not own.exists()


def test_labels_are_rules_and_never_paths(measured: Measured) -> None:
    measured.start(SERVICE)
    secret = "auth_" + "7" * 24
    measured.ask(1, f"/payments/{secret}")
    measured.ask(1, f"/{secret}")
    requests.request("BREW", f"{measured.stack.url(SERVICE)}/nowhere", timeout=10)
    found = "\n".join(measured.scrape())
    assert secret not in found
    assert "'/payments/<authorization:authorization_id>'" in found


@pytest.fixture
def trap(tmp_path: Path) -> dict[str, str]:
    """The process ends if it imports prometheus_client."""
    folder = tmp_path / "trap"
    folder.mkdir()
    (folder / "prometheus_client.py").write_text("raise SystemExit('imported')\n")
    paths = [str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def test_without_a_port_nothing_is_loaded_or_made(measured: Measured, trap: dict[str, str]) -> None:
    measured.stack.start(SERVICE, "orchestrator", "webhooks", **trap)
    measured.ask(1)
    assert all(process.poll() is None for process in measured.stack.processes.values())
    pid = measured.stack.processes[SERVICE].pid
    assert not any(PREFIX in os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir())
    measured.stack.launch("orchestrator.2", METRICS_PORT=str(measured.ports["orchestrator.2"]), **trap)
    assert measured.stack.processes.pop("orchestrator.2").wait(30) == 1  # the trap works


def test_port_that_is_taken_costs_the_metrics_only(measured: Measured) -> None:
    measured.start(SERVICE)
    for name in ("orders_service", "orchestrator", "webhooks"):
        measured.stack.start(name, METRICS_PORT=str(measured.ports[SERVICE]))
        assert "no metrics: cannot listen on METRICS_PORT" in measured.stack.log(name)
    assert measured.stack.stop("orders_service") == 0
    assert measured.total("http_requests_total") > 0


def test_worker_goes_on_when_the_files_are_gone(measured: Measured) -> None:
    measured.start(SERVICE)
    shutil.rmtree(measured.folder())
    measured.ask(5)
    os.kill(measured.stack.workers(SERVICE)[0], signal.SIGKILL)
    eventually(lambda: measured.stack.is_ready(SERVICE))
    measured.ask(5)
    assert measured.stack.is_ready(SERVICE)
