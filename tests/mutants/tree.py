"""A copy of the project, in which tests run against the code of the copy and not that of the folder it came from."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

PROJECT = Path(__file__).resolve().parents[2]
LIMIT_S = 180  # for one mutant's tests, which take 2 to 30 s; one that hangs is ended
FAREWELL_S = 30  # in which pytest, interrupted, ends the processes that its tests started
# As a console script is started (gunicorn): from a folder of its own, with the project as the current one.
WHERE = """
import importlib, sys
for name in sys.argv[1:]:
    print(importlib.import_module(name).__file__ or "")
"""


@dataclass(frozen=True)
class Run:
    """What came of a run of pytest."""

    returncode: int
    output: str

    @property
    def failed(self) -> list[str]:
        """Node ids of the tests that failed; one that broke in its preparation is not among them."""
        return re.findall(r"^FAILED (.+?)(?: - .*)?$", self.output, re.MULTILINE)


class Tree:
    """A copy in `root`. Nothing that its tests do is seen in the project."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of_project(cls, root: Path) -> Tree:
        """A copy without what .gitignore names: the environment, data, caches."""
        ignored = [line.strip("/") for line in (PROJECT / ".gitignore").read_text().split()]
        shutil.copytree(PROJECT, root, ignore=shutil.ignore_patterns(".git", *ignored), symlinks=True)
        return cls(root)

    def copy(self, root: Path) -> Tree:
        """With what has been compiled, which saves each mutant a second."""
        shutil.copytree(self.root, root, symlinks=True)
        return Tree(root)

    def pytest(self, nodes: tuple[str, ...], *options: str) -> Run:
        """Run these tests; one that is still at it after LIMIT_S is interrupted."""
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", *options]
        return self._run([*command, f"--basetemp={self.root}.tmp", *nodes])

    def modules_of(self, names: list[str]) -> list[Path]:
        """Where Python finds these modules. :raises ImportError: with what it says where it cannot import them"""
        script = Path(f"{self.root}.scripts") / "where.py"
        script.parent.mkdir(exist_ok=True)
        script.write_text(WHERE)
        run = self._run([sys.executable, str(script), *names])
        if run.returncode:
            raise ImportError(run.output)
        return [Path(line) for line in run.output.splitlines()]

    def remove(self) -> None:
        for folder in (self.root, Path(f"{self.root}.tmp"), Path(f"{self.root}.scripts")):
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, command: list[str]) -> Run:
        environ = {**os.environ, "PYTHONPATH": str(self.root)}  # before the editable install, in child processes too
        with subprocess.Popen(
            command, cwd=self.root, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                output, _ = process.communicate(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                output = _end(process) + f"\nended after {LIMIT_S} s"
        return Run(process.returncode, output)


def _end(process: subprocess.Popen[str]) -> str:
    """Interrupt, so that what its tests started is ended; then make sure of it. :returns: what it had said"""
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    try:
        output, _ = process.communicate(timeout=FAREWELL_S)
    except subprocess.TimeoutExpired:
        process.kill()
        for child in children:
            if child.is_running():
                child.kill()
        output, _ = process.communicate()
    return output
