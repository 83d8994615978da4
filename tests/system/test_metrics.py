"""`/metrics` of the real processes: right with several workers, also killed ones, and in agreement with the books."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from common.database.database import Database
from common.metrics.folder import PREFIX
from ops.audit import audit
from tests import credentials
from tests.common.ledger.conftest import IN_THE_BOOKS
from tests.system.conftest import place
from tests.system.stack import PROJECT, WEB_PROCESSES, Stack, free_port
from tests.system.test_webhooks import ON_THIS_MACHINE
from tests.waiting import eventually
from tests.webhooks.receiver import Receiver

SERVICE = "payments_service"
THREADS, WORKERS = 4, 2
ALL = (*WEB_PROCESSES, "orchestrator", "webhooks")
Samples = dict[str, float]
ROW = re.compile(r"^\| `(holdfast_\w+)` \| (\w+) \| (.*?) \|", re.MULTILINE)
ABSENT = ("oldest_due", "oldest_hold", "webhook_oldest_pending")
"""Times of the oldest, of which there is none when all is done."""


class Measured:
    """Processes with metrics."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.ports = {name: free_port() for name in (*ALL, "orchestrator.2")}

    def start(self, *names: str, **environ: str) -> None:
        for name in names:
            self.stack.start(name, METRICS_PORT=str(self.ports[name]), **environ)

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


def test_killed_workers_take_no_counts_with_them(measured: Measured) -> None:
    measured.start(SERVICE)
    name = "http_requests_total"
    asked, stop = 0, Event()

    def watch() -> list[float]:
        seen = []
        while not stop.is_set():
            with suppress(requests.ConnectionError):  # the killed worker had accepted it
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


@pytest.fixture
def in_the_books(url: str) -> Iterator[Callable[[], dict[str, int]]]:
    database = Database(url, name="test", size=1)
    yield lambda: database.all(IN_THE_BOOKS)[0]
    database.close()


def of_the_books(measured: Measured, name: str, books: dict[str, int]) -> dict[str, float]:
    found = measured.scrape(name)
    counted = {}
    for outcome in books:
        of, _, end = outcome.rpartition("_")
        counted[outcome] = found.get(f"{of or 'orders'}_total[('outcome', '{end}')]", -1)
    return counted


def listed() -> dict[str, tuple[str, tuple[str, ...]]]:
    """docs/metrics.md: name → type and labels"""
    rows = ROW.findall((PROJECT / "docs" / "metrics.md").read_text(encoding="utf-8"))
    return {name: (kind, tuple(sorted(re.findall(r"`(\w+)`", labels)))) for name, kind, labels in rows}


def exported(measured: Measured) -> dict[str, tuple[str, tuple[str, ...]]]:
    found = {}
    for name in ALL:
        text = requests.get(f"http://127.0.0.1:{measured.ports[name]}/metrics", timeout=10).text
        if promtool := shutil.which("promtool"):
            checked = subprocess.run(
                [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
            )
            assert (checked.returncode, checked.stderr) == (0, ""), name
        for family in text_string_to_metric_families(text):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            full = f"{family.name}_total" if family.type == "counter" else family.name
            found[full] = (family.type, tuple(sorted(labels)))
    return found


def test_metrics_of_all_processes_agree_with_the_books(
    measured: Measured, url: str, in_the_books: Callable[[], dict[str, int]], open_orders: Callable[[], int]
) -> None:
    """Orders of all kinds, while a worker and an orchestrator are killed."""
    measured.start(*ALL, "orchestrator.2")
    stack = measured.stack
    product = stack.product(stock=1000)
    assert audit({"DATABASE_URL": url, "APP_ENV": "test"}).total == 0
    with Receiver() as receiver, stack.client(api_key=credentials.EDGE_KEY) as client:
        client.create_webhook_endpoint(url=f"{receiver.url}/holdfast")
        first = place(stack, product, 20)
        os.kill(stack.workers("web")[0], signal.SIGKILL)
        stack.kill("orchestrator.2")
        place(stack, product, 10)
        place(stack, product, 4, token="tok_decline_stolen")
        place(stack, product, 3, token="fail_capture")
        measured.start("orchestrator.2")
        eventually(lambda: open_orders() == 0, 60)
        client.refund(next(iter(first.values())), amount_cents=100, reason="other")
        eventually(lambda: in_the_books()["refunds_succeeded"] == 1, 60)
        books = in_the_books()
        assert (books["completed"], books["failed"], books["declined"]) == (30, 3, 4)
        for name in ("orchestrator", "orchestrator.2"):
            eventually(lambda name=name: of_the_books(measured, name, books) == books, 60)
        eventually(lambda: len(receiver.heard) == 71, 60)
        eventually(lambda: measured.total("webhook_deliveries_total", "webhooks", "yes") == 71)
    page, missing = listed(), {f"holdfast_{name}_timestamp_seconds" for name in ABSENT}
    assert exported(measured) == {name: about for name, about in page.items() if name not in missing}
    assert missing < set(page)
    assert measured.total("orders_open", "orchestrator") == measured.total("holds_open", "orchestrator") == 0
    assert measured.total("step_duration_seconds_count", "orchestrator", "create_order", "yes") > 0
    assert measured.total("claim_delay_seconds_count", "orchestrator") > 0
    assert measured.total("worker_slots", "orchestrator", "order") == 16
    assert measured.total("listen_up", "orchestrator") == 1
    assert measured.total("call_duration_seconds_count", "web", "payments", "yes") > 0
    assert measured.total("http_requests_total", "web", "'/orders'", "POST", "2xx") > 0
    assert measured.total("breaker_open", "web") == measured.total("breaker_open", "orchestrator") == 0
