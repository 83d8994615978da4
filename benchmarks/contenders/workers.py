"""The worker processes of a contender: start them, pin each to a core, measure and stop them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.processes import PROJECT, ProcessDied, cpu_seconds

STOP_WITHIN_S = 10
CORES = sorted(os.sched_getaffinity(0))


class Workers:
    """Processes of one command.

    :param log: the file for their output, followed by their number
    :param pinned: pin each to a core, so that the threads of one interpreter do not move between cores
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        count: int,
        log: Path,
        *,
        pinned: bool,
        environ: Mapping[str, str],
        checkout: Path = PROJECT,
    ) -> None:
        self._logs = [log.with_name(f"{log.name}-{number + 1}.log") for number in range(count)]
        environ = {**os.environ, "PYTHONPATH": str(checkout), **environ}
        self._processes = []
        for number, path in enumerate(self._logs):
            with path.open("wb") as output:
                process = subprocess.Popen(
                    command, cwd=checkout, env=environ, stdin=subprocess.PIPE, stdout=output, stderr=output
                )
            if pinned:
                os.sched_setaffinity(process.pid, {CORES[number % len(CORES)]})
            self._processes.append(process)

    def check(self) -> None:
        """:raises ProcessDied: if one has exited"""
        for process, log in zip(self._processes, self._logs, strict=True):
            if process.poll() is not None:
                raise ProcessDied(f"{log.stem} exited with {process.returncode}:\n{log.read_text()[-2000:]}")

    def printed(self, word: str, times: int = 1) -> bool:
        """Whether each of them has printed a word at least this many times.

        :raises ProcessDied: if one has exited
        """
        self.check()
        return all(log.read_text(errors="replace").count(word) >= times for log in self._logs)

    def tell(self, lines: Sequence[str]) -> None:
        """Write a line to the stdin of each."""
        for process, line in zip(self._processes, lines, strict=True):
            assert process.stdin
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()

    def cpu_s(self) -> float:
        return sum(cpu_seconds(process.pid) for process in self._processes)

    def stop(self) -> None:
        """Stop them. Their work is done by then, so a kill does no harm."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            assert process.stdin
            process.stdin.close()
