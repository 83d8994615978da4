"""A real PgBouncer in transaction mode, otherwise with Debian's defaults."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg2
import psycopg2.extensions
import pytest

from local.binaries import server_account, unprivileged
from local.passwords import PasswordFile
from tests.system.stack import free_port
from tests.waiting import eventually

CONFIG = """
[databases]
* = host={host} port={port}

[pgbouncer]
logfile = {folder}/pgbouncer.log
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/userlist.txt
pool_mode = transaction
{more}
"""


@contextmanager
def pgbouncer(url: str, folder: Path, **settings: str) -> Iterator[str]:
    """Run a PgBouncer in front of the server at `url`; gives its address.

    :param settings: further settings, for instance `ignore_startup_parameters="options"`
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if not program:
        leave = pytest.fail if os.environ.get("CI") else pytest.skip
        leave("pgbouncer is not installed")
    server = psycopg2.extensions.parse_dsn(url)
    port = free_port()
    folder.mkdir()
    passwords = PasswordFile(Path(server["passfile"])).passwords()
    (folder / "userlist.txt").write_text("".join(f'"{role}" "{each}"\n' for role, each in passwords.items()))
    config = folder / "pgbouncer.ini"
    config.write_text(
        CONFIG.format(
            host=server["host"],
            port=server.get("port", 5432),
            folder=folder,
            listen_port=port,
            more="\n".join(f"{name} = {value}" for name, value in settings.items()),
        )
    )
    account = server_account()
    for path in (folder, *folder.iterdir()):
        os.chown(path, *account)
    command: list[str | Path] = [program, "--quiet", config]
    parameters = f"?passfile={quote(server['passfile'], safe='/')}"
    pooled = f"postgresql://{server['user']}@127.0.0.1:{port}/{server['dbname']}{parameters}"
    process = subprocess.Popen(unprivileged(command, account), stdin=subprocess.DEVNULL, cwd="/")
    try:
        eventually(lambda: _answers(pooled, process))
        yield pooled
    finally:
        process.send_signal(signal.SIGTERM)  # PgBouncer 1.18: exit at once
        process.wait(20)


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "pgbouncer did not start"
    with suppress(psycopg2.OperationalError), closing(psycopg2.connect(url, connect_timeout=2)):
        return True
    return False
