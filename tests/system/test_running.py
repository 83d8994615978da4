"""`python -m local run` as a person uses it: real processes, real signals, nothing left behind."""

from __future__ import annotations

import os
import pty
import select
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.credentials import service_headers
from tests.system.running import DEADLINE_S, PROJECT, Running, descendants, first_with, free_ports, is_alive
from tests.waiting import eventually

IS_UP = "Holdfast is up"
OPERATOR = service_headers("inventory_service")
# For tests that only start and stop: two processes that speak HTTP, and one that does not.
STAND_IN = """
import http.server, os
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
print("started", flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Healthy).serve_forever()
"""
STAND_IN_PROCFILE = "web: python stand_in.py\ninventory_service: python stand_in.py\nworker: exec sleep 1000\n"
Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the system with its data in this test's folder. It stops with the test."""
    started: list[Running] = []
    port = str(free_ports())

    def start(*options: str, **environ: str) -> Running:
        command = [sys.executable, "-m", "local", "run", "--data", str(tmp_path / "data"), *options]
        started.append(Running(command, tmp_path / f"output-{len(started)}", **{"PORT": port, **environ}))
        return started[-1]

    yield start
    for each in started:
        each.clean_up()


@pytest.fixture
def stand_ins(tmp_path: Path) -> str:
    """The option that replaces the system with stand-ins, which start ten times as fast."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    (tmp_path / "Procfile").write_text(STAND_IN_PROCFILE)
    return f"--procfile={tmp_path / 'Procfile'}"


def url_in(output: str, name: str) -> str:
    """A service's address in the banner."""
    return next(line.split()[2] for line in output.splitlines() if line.strip().startswith(name))


def paste_twice(banner: str) -> subprocess.CompletedProcess[str]:
    """The commands of the banner, pasted into a shell twice."""
    commands = banner[banner.index("  . ") : banner.index("`make demo`")]
    return subprocess.run(["sh", "-e"], input=commands * 2, capture_output=True, text=True, timeout=60, check=False)


def test_whole_system_starts_stops_and_keeps_its_data(start: Start) -> None:
    run = start()
    run.says(IS_UP)
    inventory = url_in(run.output, "inventory service")
    product = {"name": "Tea", "sku": "TEA-1", "price_cents": 300, "initial_stock": 4}
    made = requests.post(f"{inventory}/inventory/products", json=product, headers=OPERATOR, timeout=10).json()
    bought = paste_twice(run.output)
    # Each of the two orders shows it as its status and at the end of its timeline.
    assert bought.stdout.count('"status":"COMPLETED"') == 4, bought
    everything = descendants(run.process.pid)
    assert run.ends(signal.SIGINT) == 0
    assert run.output.rstrip().endswith("stopped")
    assert "Traceback" not in run.output
    assert psutil.wait_procs(everything, DEADLINE_S)[1] == []

    again = start()
    again.says(IS_UP)
    availability = f"{inventory}/inventory/products/{made['id']}/availability"
    kept = requests.get(availability, headers=OPERATOR, timeout=10).json()
    assert kept["stock_quantity"] == 4
    assert again.ends(signal.SIGTERM) == 0


def test_everything_stops_when_one_process_dies_and_the_last_line_says_which(start: Start) -> None:
    run = start()
    run.says(IS_UP)
    everything = descendants(run.process.pid)
    first_with(everything, "-m orchestrator").kill()
    assert run.ends() == 1
    assert run.output.splitlines()[-1] == "stopped, because orchestrator was killed by SIGKILL"
    assert psutil.wait_procs(everything, DEADLINE_S)[1] == []


def test_everything_stops_when_the_database_dies(start: Start, stand_ins: str) -> None:
    run = start(stand_ins)
    run.says(IS_UP)
    first_with(descendants(run.process.pid), "postgres", "-D").kill()
    assert run.ends() == 1
    assert "stopped, because the database was killed by SIGKILL" in run.output.splitlines()[-1]


def test_start_is_clean_after_the_supervisor_was_killed(start: Start, stand_ins: str) -> None:
    killed = start(stand_ins)
    killed.says(IS_UP)
    left = descendants(killed.process.pid)
    database = first_with(left, "postgres", "-D")
    services = [each for each in left if "stand_in.py" in " ".join(each.cmdline())]
    killed.ends(signal.SIGKILL)
    # The services notice and free their ports. The database stays, because our crash must not take it down.
    eventually(lambda: not any(map(is_alive, services)), DEADLINE_S)
    assert is_alive(database)

    again = start(stand_ins)
    again.says(IS_UP)
    assert not is_alive(database)
    assert again.ends(signal.SIGTERM) == 0


def test_signal_during_the_start_stops_everything_cleanly(start: Start, stand_ins: str) -> None:
    run = start(stand_ins)
    run.says("embedded PostgreSQL")
    assert run.ends(signal.SIGTERM) == 0
    assert "Traceback" not in run.output


@pytest.mark.parametrize("no_color", ["", "1"])
def test_ctrl_c_in_a_terminal_returns_0_to_make(tmp_path: Path, stand_ins: str, no_color: str) -> None:
    """The shell plays `make`: a parent in the same process group, which Ctrl-C also reaches."""
    run = shlex.join([sys.executable, "-m", "local", "run", stand_ins, "--data", str(tmp_path / "data")])
    main, terminal = pty.openpty()
    os.set_inheritable(terminal, True)
    environ = {**os.environ, "PORT": str(free_ports()), "NO_COLOR": no_color}
    # login_tty: a new session with this terminal, as in a terminal window.
    shell = f"import os; os.login_tty({terminal}); os.execvp('sh', ['sh', '-c', {f'{run}; echo code=$?'!r}])"
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", shell], environ)
    os.close(terminal)
    output = read_until(main, IS_UP)
    os.write(main, b"\x03")
    output += read_until(main, "code=")
    os.waitpid(pid, 0)
    os.close(main)
    assert "stopped" in output
    assert "code=0" in output
    assert "Traceback" not in output
    assert ("\x1b[" in output) is not bool(no_color)


def read_until(terminal: int, text: str) -> str:
    """The terminal's output up to the end of the line with this text."""
    shown = ""
    while text not in shown or not shown.endswith("\n"):
        assert select.select([terminal], [], [], DEADLINE_S)[0], shown
        shown += os.read(terminal, 65536).decode(errors="replace")
    return shown


@pytest.mark.parametrize(
    ("setting", "value", "line"),
    [
        ("MOCK_FAILURE_RATE", "2", "MOCK_FAILURE_RATE must be a number from 0 to 1"),
        ("PORT", "65400", "PORT must be a whole number from 1 to 64885: the other services use higher ports"),
        ("DATABASE_URL", "mysql://u:hidden@x/y", "DATABASE_URL must be a postgresql:// address"),
    ],
)
def test_bad_setting_is_one_line(start: Start, setting: str, value: str, line: str) -> None:
    run = start(**{setting: value})
    assert run.ends() == 1
    assert run.output == f"{line}\n"


def test_unreachable_database_is_one_line_without_the_password(start: Start) -> None:
    run = start(DATABASE_URL="postgresql://me:hidden@127.0.0.1:1/shop")
    assert run.ends() == 1
    assert run.output.startswith("The database in DATABASE_URL cannot be reached: ")
    assert run.output.count("\n") == 1
    assert "hidden" not in run.output


def test_port_in_use_is_one_line_with_a_way_out(start: Start, tmp_path: Path) -> None:
    base = free_ports()
    with socket.create_server(("127.0.0.1", base + 200)):
        run = start(PORT=str(base))
        assert run.ends() == 1
    assert run.output.startswith(f"Port {base + 200} of inventory_service is in use")
    assert f"PORT={base + 1000} make run" in run.output
    assert run.output.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_second_run_on_the_same_data_is_refused(start: Start, stand_ins: str) -> None:
    first = start(stand_ins)
    first.says(IS_UP)
    second = start(stand_ins, PORT=str(free_ports()))
    assert second.ends() == 1
    assert "is in use by another `make run`" in second.output
    assert first.ends(signal.SIGTERM) == 0


@pytest.mark.parametrize("name", ["web", "orders_service", "inventory_service", "payments_service", "orchestrator"])
def test_each_line_of_the_procfile_runs_alone(name: str, tmp_path: Path, migrated_url: str) -> None:
    port = free_ports()
    run = Running(["sh", "-c", line_of(name)], tmp_path / "output", PORT=str(port), DATABASE_URL=migrated_url)
    try:
        if name == "orchestrator":
            run.says("started")
        else:
            eventually(lambda: status_of(f"http://127.0.0.1:{port}/health") == 200, DEADLINE_S)
    finally:
        for each in [*descendants(run.process.pid), run.process]:
            each.send_signal(signal.SIGTERM)  # to all processes of the line, as a platform does
    assert run.ends() in (0, -signal.SIGTERM)  # the latter if the shell has not replaced itself with the program
    assert "Traceback" not in run.output


def line_of(name: str) -> str:
    lines = dict(line.split(": ", 1) for line in (PROJECT / "Procfile").read_text().splitlines())
    return f"exec {lines[name]}"


def status_of(url: str) -> int:
    try:
        return requests.get(url, timeout=5).status_code
    except requests.ConnectionError:
        return 0


@pytest.mark.parametrize("name", ["web", "release"])
def test_line_of_the_procfile_refuses_a_bad_setting_in_one_line(name: str, tmp_path: Path) -> None:
    run = Running(["sh", "-c", line_of(name)], tmp_path / "output", DATABASE_URL="postgresql:///x", WEB_THREADS="many")
    assert run.ends() == 1
    assert run.output == "WEB_THREADS must be a whole number from 1 to 256\n"
