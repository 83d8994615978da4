"""An embedded PostgreSQL: a server for one user, with its data in one folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg2

from common.schema.roles import ROLES
from local.binaries import PostgresError, error_in, find_binaries, major_version, server_account, unprivileged
from local.orphan import stop_orphan, wait_until
from local.passwords import PasswordFile

USER = DATABASE = "holdfast"

START_TIMEOUT_S = 60  # after a crash, recovery replays the log from the last checkpoint
SMART_STOP_S = 4  # for the clients to disconnect
FAST_STOP_S = 6  # then their transactions are rolled back, and a checkpoint is written
SOCKET_PATH_BYTES = 90  # the system allows about 100, and PostgreSQL's lock file needs some of them

SETTINGS = {
    "listen_addresses": "",  # the unix socket only
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Our statements contain their values, and the details of an error contain rows: e-mail addresses, for instance.
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class EmbeddedPostgres:
    """A PostgreSQL server that keeps its data in `data_dir`.

    :param data_dir: created if it does not exist; contains `data/`, `server.log`, `lock` and `pgpass`
    :param settings: more server settings, for example `{"fsync": "off"}` for tests
    :param binaries: the folder with `postgres` and `initdb`; by default that of `find_binaries`
    :raises PostgresError: from `start`, with a reason that a person can act on
    """

    def __init__(
        self, data_dir: str | Path, settings: Mapping[str, str] | None = None, binaries: Path | None = None
    ) -> None:
        self.folder = Path(data_dir).resolve()
        self.log = self.folder / "server.log"
        self._data = self.folder / "data"
        self._hba = self._data / "pg_hba.conf"
        self._passwords = PasswordFile(self.folder / "pgpass")
        self._settings = {**SETTINGS, **(settings or {})}
        self._account = server_account()
        self._socket_dir = _socket_dir(self.folder)
        self._given_binaries = binaries
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @property
    def url(self) -> str:
        """The address for psycopg2, SQLAlchemy and `DATABASE_URL`. It names the file with the password."""
        return self._url_of(DATABASE)

    @property
    def pid(self) -> int:
        """The id of the server's main process."""
        if self._process is None:
            raise PostgresError("The embedded PostgreSQL is not running.")
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while the server runs, then its exit code (negative: killed by that signal)."""
        return self._process.poll() if self._process else 0

    @property
    def has_data(self) -> bool:
        """Whether the server was ever started here."""
        return self._data.exists()

    def delete_data(self) -> None:
        """Delete everything in the database.

        :raises PostgresError: the server is running
        """
        try:
            self._prepare_folders()
            stop_orphan(self._data)
            shutil.rmtree(self._data)
        finally:
            self.stop()

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> str:
        """Start the server, initialise its data if there is none, and return the address once it answers."""
        try:
            self._prepare_folders()
            self._binaries = self._given_binaries or find_binaries()
            stop_orphan(self._data)
            if not self._data.exists():
                self._initialise()
            self._check_version()
            is_secure = self._passwords.prepare(self._hba, [USER, *ROLES])
            self._launch()
            if not is_secure:
                self._passwords.apply(self.url, self._hba, lambda: os.kill(self.pid, signal.SIGHUP))
        except OSError as error:
            self.stop()
            raise PostgresError(f"The database in {self.folder} cannot be used: {error}") from error
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Stop the server, and give clients some time to disconnect first. Does nothing when it is not running."""
        if self._process:
            self._end(("smart", SMART_STOP_S), ("fast", FAST_STOP_S), ("immediate", FAST_STOP_S))
            self._process = None
            with suppress(OSError):
                self._socket_dir.rmdir()
        if self._lock:
            self._lock.close()
            self._lock = None

    def restart(self, mode: str = "fast") -> str:
        """Stop `smart`, `fast` or `immediate` (a crash), and start again at the same address."""
        self._end((mode, FAST_STOP_S), ("immediate", FAST_STOP_S))
        self._launch()
        return self.url

    def _url_of(self, database: str) -> str:
        host, passfile = (quote(str(path), safe="/") for path in (self._socket_dir, self._passwords.path))
        return f"postgresql://{USER}@/{database}?host={host}&passfile={passfile}"

    def _prepare_folders(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        # One owner at a time. The kernel drops a POSIX lock with its process, and children do not inherit it.
        self._lock = (self.folder / "lock").open("a")
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PostgresError(
                f"The database in {self.folder} is in use by another `make run`. Stop it first."
            ) from None
        self._own(self._socket_dir)

    def _own(self, folder: Path) -> None:
        """Make a folder that only the server's account can enter, or check an existing one."""
        folder.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0 and folder.lstat().st_uid == 0:
            os.chown(folder, *self._account, follow_symlinks=False)
        found = folder.lstat()
        # Everybody can write to the temporary folder, so the folder or link may belong to another user.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self._account[0] or found.st_mode & 0o077:
            raise PostgresError(f"{folder} is not a private folder of the database's user. Remove it.")

    def _initialise(self) -> None:
        """Make the data next to its final place and move it, so that an interrupted attempt leaves nothing behind."""
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._own(unfinished)
        command: list[str | Path] = [self._binaries / "initdb", "--pgdata", unfinished, "--username", USER]
        command += ["--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=reject", "--data-checksums"]
        # Every system has the C locale. The built-in provider (since 17) makes upper() and lower() work beyond ASCII.
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if self._major() >= 17 else []
        command += ["--no-sync"] if self._settings.get("fsync") == "off" else []
        done = self._run(command)
        if done.returncode:
            raise PostgresError(f"The database cannot be made, because initdb failed: {error_in(done.stdout)}")
        unfinished.rename(self._data)

    def _run(self, command: list[str | Path]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            unprivileged(command, self._account),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd="/",  # the server's account may not be allowed to enter the current folder
            env={**os.environ, "LC_ALL": "C"},  # error_in reads English messages
            start_new_session=True,  # Ctrl-C in a terminal must reach only us
        )

    def _major(self) -> int:
        return major_version(self._binaries / "postgres")

    def _check_version(self) -> None:
        found, ours = int((self._data / "PG_VERSION").read_text()), self._major()
        if found != ours:
            raise PostgresError(
                f"The data in {self._data} belongs to PostgreSQL {found}, and this is {ours}. Move that folder away."
            )

    def _launch(self) -> None:
        command: list[str | Path] = [self._binaries / "postgres", "-D", self._data, "-k", self._socket_dir]
        command += [f"--{name}={value}" for name, value in self._settings.items()]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                unprivileged(command, self._account),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,  # the database must outlive its clients, even after Ctrl-C
            )
        if not wait_until(lambda: self.returncode is not None or self._has_database(), START_TIMEOUT_S):
            raise PostgresError(f"PostgreSQL does not answer after {START_TIMEOUT_S} s. See {self.log}.")
        if self.returncode is not None:
            raise PostgresError(f"PostgreSQL did not start: {error_in(self.log.read_text(errors='replace'))}")

    def _has_database(self) -> bool:
        """Whether the server answers. The first time, it also creates our database."""
        try:
            with closing(psycopg2.connect(self._url_of("postgres"), connect_timeout=2)) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                    if cursor.fetchone() is None:
                        cursor.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg2.OperationalError:
            return False
        return True

    def _end(self, *ways: tuple[str, float]) -> None:
        assert self._process is not None, "not running"
        for mode, seconds in ways:
            self._process.send_signal(STOP_SIGNALS[mode])
            try:
                self._process.wait(seconds)
                return
            except subprocess.TimeoutExpired:
                continue
        self._process.kill()
        self._process.wait()


def _socket_dir(folder: Path) -> Path:
    name = "holdfast-" + sha256(f"{os.geteuid()}:{folder}".encode()).hexdigest()[:12]
    wanted = Path(tempfile.gettempdir()).resolve() / name
    return wanted if len(os.fsencode(wanted)) <= SOCKET_PATH_BYTES else Path("/tmp") / name
