"""A Redis server for Celery. It logs each change and syncs the log once a second."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from benchmarks.patience import until
from benchmarks.processes import cpu_seconds, free_port
from benchmarks.programs import program

DURABILITY = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")


class Redis:
    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        folder.mkdir()
        command = [program("redis-server", "redis-server"), "--port", str(self._port), "--bind", "127.0.0.1"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen([*command, "--dir", folder.resolve(), *DURABILITY], stdout=log, stderr=log)
        until(self._is_up, 10, f"redis-server ({folder / 'log'})")
        self._connection = socket.create_connection(("127.0.0.1", self._port), timeout=5)

    def cpu_s(self) -> float:
        return cpu_seconds(self._process.pid)

    def number(self, command: str) -> int:
        """The integer reply to a command."""
        self._connection.sendall(f"{command}\r\n".encode())
        return int(self._connection.recv(100).decode().strip().removeprefix(":"))

    def close(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.wait()

    def _is_up(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True
