"""A copy of the project whose tests import the code of the copy."""

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
LIMIT_S = 180  # one test takes 2 to 30 s, and several times as long on a busy machine; a hanging test is interrupted
MORE_S = 20  # for each further test
FAREWELL_S = 30  # an interrupted pytest needs time to stop the processes of its tests
# Runs like a console script (gunicorn): the script is in another folder, the project is the current one.
WHERE = """
import importlib, sys
for name in sys.argv[1:]:
    print(importlib.import_module(name).__file__ or "")
"""


@dataclass(frozen=True)
class Run:
    """The outcome of a run of pytest."""

    returncode: int
    output: str

    @property
    def failed(self) -> list[str]:
        """Node ids of the tests that failed. A test whose fixture failed is not among them."""
        return re.findall(r"^FAILED (.+?)(?: - .*)?$", self.output, re.MULTILINE)


class Tree:
    """A copy in `root`. Its tests do not change the project."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of_project(cls, root: Path) -> Tree:
        """A copy without the files that .gitignore names: the environment, data, caches."""
        ignored = [line.strip("/") for line in (PROJECT / ".gitignore").read_text().split()]
        shutil.copytree(PROJECT, root, ignore=shutil.ignore_patterns(".git", *ignored), symlinks=True)
        return cls(root)

    def copy(self, root: Path) -> Tree:
        """A copy with the compiled files, which saves each mutant a second."""
        shutil.copytree(self.root, root, symlinks=True)
        return Tree(root)

    def pytest(self, nodes: list[str], *options: str) -> Run:
        """Run these tests for a limited time."""
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", *options]
        limit_s = LIMIT_S + MORE_S * (len(nodes) - 1)
        return self._run([*command, f"--basetemp={self.root}.tmp", *nodes], limit_s)

    def modules_of(self, names: list[str]) -> list[Path]:
        """The files of these modules. :raises ImportError: with the output of Python"""
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

    def _run(self, command: list[str], limit_s: int = LIMIT_S) -> Run:
        environ = {**os.environ, "PYTHONPATH": str(self.root)}  # precedes the editable install, also in child processes
        with subprocess.Popen(
            command, cwd=self.root, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                output, _ = process.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                output = _end(process) + f"\ninterrupted after {limit_s} s"
        return Run(process.returncode, output)


def _end(process: subprocess.Popen[str]) -> str:
    """Interrupt pytest, so that it stops what its tests started; then kill what is left. :returns: its output"""
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
