"""`python -m local run` as a person has it: real processes, real signals, and what is left afterwards."""

from __future__ import annotations

import os
import pty
import select
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.system.running import DEADLINE_S, PROJECT, Running, descendants, free_ports, is_alive, one_of
from tests.waiting import eventually

IS_UP = "Holdfast is up"
# Where only the starting and stopping matters: two that answer HTTP, and one that does not.
STAND_IN = """
import http.server, os
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Healthy).serve_forever()
"""
STAND_IN_PROCFILE = "web: python stand_in.py\ninventory_service: python stand_in.py\nworker: exec sleep 1000\n"
Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the system with its data in a folder of this test; all is ended with the test."""
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
    """The option that makes the system out of stand-ins, which start in a tenth of the time."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    (tmp_path / "Procfile").write_text(STAND_IN_PROCFILE)
    return f"--procfile={tmp_path / 'Procfile'}"


def url_in(output: str, name: str) -> str:
    """The address that the banner gives for a service."""
    return next(line.split()[2] for line in output.splitlines() if line.strip().startswith(name))


def test_the_whole_system_starts_stops_and_keeps_its_data(start: Start) -> None:
    run = start()
    run.says(IS_UP)
    inventory = url_in(run.output, "inventory service")
    product = {"name": "Tea", "sku": "TEA-1", "price_cents": 300, "initial_stock": 4}
    made = requests.post(f"{inventory}/inventory/products", json=product, timeout=10).json()
    everything = descendants(run.process.pid)
    assert run.ends(signal.SIGINT) == 0
    assert run.output.rstrip().endswith("stopped")
    assert "Traceback" not in run.output
    assert psutil.wait_procs(everything, DEADLINE_S)[1] == []

    again = start()
    again.says(IS_UP)
    kept = requests.get(f"{inventory}/inventory/products/{made['id']}/availability", timeout=10).json()
    assert kept["stock_quantity"] == 4
    assert again.ends(signal.SIGTERM) == 0


def test_when_one_process_dies_everything_stops_and_the_line_says_which(start: Start) -> None:
    run = start()
    run.says(IS_UP)
    everything = descendants(run.process.pid)
    one_of(everything, "-m orchestrator").kill()
    assert run.ends() == 1
    assert run.output.splitlines()[-1] == "stopped, because orchestrator was killed by SIGKILL"
    assert psutil.wait_procs(everything, DEADLINE_S)[1] == []


def test_when_the_database_dies_everything_stops(start: Start, stand_ins: str) -> None:
    run = start(stand_ins)
    run.says(IS_UP)
    one_of(descendants(run.process.pid), "postgres", "-D").kill()
    assert run.ends() == 1
    assert "stopped, because the database was killed by SIGKILL" in run.output.splitlines()[-1]


def test_a_supervisor_that_was_killed_hard_is_followed_by_a_clean_start(start: Start, stand_ins: str) -> None:
    killed = start(stand_ins)
    killed.says(IS_UP)
    left = descendants(killed.process.pid)
    database = one_of(left, "postgres", "-D")
    services = [each for each in left if "stand_in.py" in " ".join(each.cmdline())]
    killed.ends(signal.SIGKILL)
    # The services notice and free their ports; the database stays, as a crash of ours must not be one of its own.
    eventually(lambda: not any(map(is_alive, services)), DEADLINE_S)
    assert is_alive(database)

    again = start(stand_ins)
    again.says(IS_UP)
    assert not is_alive(database)
    assert again.ends(signal.SIGTERM) == 0


def test_a_signal_before_anything_is_up_ends_it_cleanly(start: Start, stand_ins: str) -> None:
    run = start(stand_ins)
    run.says("embedded PostgreSQL")
    assert run.ends(signal.SIGTERM) == 0
    assert "Traceback" not in run.output


def test_ctrl_c_in_a_terminal_ends_it_with_0_for_whoever_started_it(tmp_path: Path, stand_ins: str) -> None:
    """The shell stands for `make`: the parent, in the same process group, that a Ctrl-C would reach too."""
    run = shlex.join([sys.executable, "-m", "local", "run", stand_ins, "--data", str(tmp_path / "data")])
    main, terminal = pty.openpty()
    os.set_inheritable(terminal, True)
    # login_tty: a session of its own whose terminal this is, as in a terminal window.
    shell = f"import os; os.login_tty({terminal}); os.execvp('sh', ['sh', '-c', {f'{run}; echo code=$?'!r}])"
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", shell], {**os.environ, "PORT": str(free_ports())})
    os.close(terminal)
    read_until(main, IS_UP)
    os.write(main, b"\x03")
    output = read_until(main, "code=")
    os.waitpid(pid, 0)
    os.close(main)
    assert "stopped" in output
    assert "code=0" in output
    assert "Traceback" not in output


def read_until(terminal: int, text: str) -> str:
    """What the terminal shows up to the end of the line with this text."""
    shown = ""
    while text not in shown or not shown.endswith("\n"):
        assert select.select([terminal], [], [], DEADLINE_S)[0], shown
        shown += os.read(terminal, 65536).decode(errors="replace")
    return shown


@pytest.mark.parametrize(
    ("setting", "value", "line"),
    [
        ("MOCK_FAILURE_RATE", "2", "MOCK_FAILURE_RATE must be a number from 0 to 1"),
        ("PORT", "65400", "PORT must be a whole number from 1 to 65135: the other services' ports lie above it"),
        ("DATABASE_URL", "mysql://u:hidden@x/y", "DATABASE_URL must be a postgresql:// address"),
    ],
)
def test_a_bad_setting_is_one_line(start: Start, setting: str, value: str, line: str) -> None:
    run = start(**{setting: value})
    assert run.ends() == 1
    assert run.output == f"{line}\n"


def test_an_unreachable_database_is_one_line_without_the_password(start: Start) -> None:
    run = start(DATABASE_URL="postgresql://me:hidden@127.0.0.1:1/shop")
    assert run.ends() == 1
    assert run.output.startswith("DATABASE_URL names a database that cannot be reached: ")
    assert run.output.count("\n") == 1
    assert "hidden" not in run.output


def test_a_taken_port_is_one_line_that_names_the_way_out(start: Start, tmp_path: Path) -> None:
    base = free_ports()
    with socket.create_server(("127.0.0.1", base + 200)):
        run = start(PORT=str(base))
        assert run.ends() == 1
    assert run.output.startswith(f"port {base + 200}, which inventory_service needs, is taken")
    assert f"PORT={base + 1000} make run" in run.output
    assert run.output.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_a_second_run_on_the_same_data_is_refused(start: Start, stand_ins: str) -> None:
    first = start(stand_ins)
    first.says(IS_UP)
    second = start(stand_ins, PORT=str(free_ports()))
    assert second.ends() == 1
    assert "is in use by another run" in second.output
    assert first.ends(signal.SIGTERM) == 0


@pytest.mark.parametrize("name", ["web", "orders_service", "inventory_service", "payments_service", "orchestrator"])
def test_each_line_of_the_procfile_runs_by_itself(name: str, tmp_path: Path, migrated_url: str) -> None:
    port = free_ports()
    run = Running(["sh", "-c", line_of(name)], tmp_path / "output", PORT=str(port), DATABASE_URL=migrated_url)
    try:
        if name == "orchestrator":
            run.says("started")
        else:
            eventually(lambda: status_of(f"http://127.0.0.1:{port}/health") == 200, DEADLINE_S)
    finally:
        for each in [*descendants(run.process.pid), run.process]:
            each.send_signal(signal.SIGTERM)  # as a platform does: to all processes of the line
    assert run.ends() in (0, -signal.SIGTERM)  # the latter where the shell has not given its place to the program
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
def test_a_line_of_the_procfile_refuses_a_bad_setting_in_one_line(name: str, tmp_path: Path) -> None:
    run = Running(["sh", "-c", line_of(name)], tmp_path / "output", DATABASE_URL="postgresql:///x", WEB_THREADS="many")
    assert run.ends() == 1
    assert run.output == "WEB_THREADS must be a whole number from 1 to 256\n"
