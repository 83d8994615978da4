"""A newcomer's first hour: every command of the documentation, run in a fresh copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2
import pytest

from local.binaries import find_binaries
from tests.docs.pages import PAGES, PROJECT, blocks, script
from tests.system.running import Running, free_ports

STARTS_WITHIN_S = 240  # includes the installation, on a busy machine
PAGE_WITHIN_S = 120
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "PIP_CONFIG_FILE", "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
WITH_COMMANDS = [page for page in PAGES if any(block.language in ("sh", "python") for block in blocks(page))]
WITH_SQL = [page for page in PAGES if any(block.language == "sql" for block in blocks(page))]


@dataclass(frozen=True)
class Newcomer:
    folder: Path
    base_port: int
    database_url: str

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        environ = environment(self.base_port) | {"DATABASE_URL": self.database_url}
        environ["PATH"] = f"{find_binaries()}{os.pathsep}{environ['PATH']}"  # pg_dump as new as the server
        return subprocess.run(
            ["bash", "-c", text], cwd=self.folder, env=environ, capture_output=True, text=True, check=False,
            timeout=PAGE_WITHIN_S,
        )  # fmt: skip


def environment(port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("PIP_")}
    outside = [part for part in kept["PATH"].split(os.pathsep) if not part.startswith(str(PROJECT))]
    return kept | {"PATH": os.pathsep.join(outside), "PORT": str(port), "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    folder = tmp_path_factory.mktemp("a newcomer") / "holdfast"
    command = ["git", "ls-files", "-coz", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    port = free_ports()
    with running(folder, port) as process:
        yield Newcomer(folder, port, url_in(process.output))


def url_in(output: str) -> str:
    """Return the database address in the psql command that `make run` prints."""
    found = re.search(r"psql '(.+)'", output)
    assert found, output
    return found[1]


class running:
    """`make run` in a folder. It must exit with 0 when stopped."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port = folder, port

    def __enter__(self) -> Running:
        self._run = Running(["make", "run"], self._folder / "run.log", self._folder, **environment(self._port))
        self._run.says("curl", STARTS_WITHIN_S)
        return self._run

    def __exit__(self, *_: object) -> None:
        (program,) = psutil.Process(self._run.process.pid).children()  # signal the program, not make
        program.send_signal(signal.SIGTERM)
        assert self._run.ends() == 0, self._run.output


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_every_command_of_the_page_works(newcomer: Newcomer, page: str) -> None:
    run = newcomer.run(script(page, newcomer.base_port))
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert "Traceback" not in run.stderr


def test_the_order_of_the_readme_can_be_pasted_twice(newcomer: Newcomer) -> None:
    for _ in range(2):
        run = newcomer.run(script("README.md", newcomer.base_port))
        assert run.stdout.count('"status": "COMPLETED"') >= 1, run.stdout
        assert "COMPLETED 2500 None" in run.stdout


@pytest.mark.parametrize("page", WITH_SQL)
def test_every_statement_of_the_page_works(newcomer: Newcomer, page: str) -> None:
    with closing(psycopg2.connect(newcomer.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE ROLE auditor")  # rolled back when the connection is closed
        for block in blocks(page):
            if block.language == "sql":
                cursor.execute(block.text.replace("'…'", "'00000000-0000-0000-0000-000000000000'"))


def test_attention_retry_says_why_it_is_refused(newcomer: Newcomer) -> None:
    run = newcomer.run('make attention ARGS="retry 00000000-0000-0000-0000-000000000000"')
    assert run.returncode != 0
    assert "is not an order_ledger_id or refund_id of this database" in (run.stdout + run.stderr).lower()
