"""The embedded PostgreSQL in its own folders."""

from __future__ import annotations

import os
import signal
import stat
from contextlib import closing
from pathlib import Path

import psycopg2
import psycopg2.extensions
import pytest
from sqlalchemy import create_engine, make_url, text

from common.process.parsers import database_url
from common.schema.accounts import address_of
from common.schema.roles import ROLES
from local import binaries
from local.passwords import PasswordFile
from local.postgres import EmbeddedPostgres, PostgresError

FAST = {"fsync": "off"}


def ask(url: str, sql: str) -> object:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


def test_data_is_kept_between_two_starts(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "a folder", FAST) as first:
        ask(first.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    with EmbeddedPostgres(tmp_path / "a folder", FAST) as second:
        assert ask(second.url, "SELECT answer FROM kept") == 42


def test_folder_can_have_a_long_path_with_spaces(tmp_path: Path) -> None:
    """The path of a socket is limited to about 100 bytes."""
    folder = tmp_path / "a folder with a long name" / ("ä" * 100) / "another"
    with EmbeddedPostgres(folder, FAST) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_server_is_utf8_and_utc_and_not_reachable_from_outside(postgres: EmbeddedPostgres) -> None:
    assert ask(postgres.url, "SHOW server_encoding") == "UTF8"
    assert ask(postgres.url, "SHOW timezone") == "UTC"
    assert ask(postgres.url, "SHOW listen_addresses") == ""
    socket_folder = Path(make_url(postgres.url).query["host"])
    assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700


def test_address_works_in_our_settings_and_in_sqlalchemy(postgres: EmbeddedPostgres) -> None:
    assert database_url(postgres.url) == postgres.url
    engine = create_engine(make_url(postgres.url).set(drivername="postgresql+psycopg2"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT current_database()")).scalar() == "holdfast"
    engine.dispose()


def test_immediate_restart_drops_connections_and_keeps_committed_data(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        address, pid = server.url, server.pid
        ask(address, "CREATE TABLE kept AS SELECT 42 AS answer")
        with closing(psycopg2.connect(address)) as connection:
            assert server.restart(mode="immediate") == address
            with pytest.raises(psycopg2.DatabaseError), connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        assert server.pid != pid
        assert ask(address, "SELECT answer FROM kept") == 42


def test_killed_server_reports_its_signal(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, FAST) as server:
        assert server.returncode is None
        os.kill(server.pid, signal.SIGKILL)
        os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
        assert server.returncode == -signal.SIGKILL


def test_pid_file_left_by_a_crashed_machine_does_not_prevent_a_start(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, FAST):
        pass
    # The number now belongs to another process (this one), as often happens in a container.
    (tmp_path / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    with EmbeddedPostgres(tmp_path, FAST) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_interrupted_first_start_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "data.unfinished").mkdir(parents=True)
    (tmp_path / "data.unfinished" / "half").touch()
    with EmbeddedPostgres(tmp_path, FAST) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_data_of_another_major_version_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresError, match="belongs to PostgreSQL 9"):
        EmbeddedPostgres(tmp_path).start()


def test_bad_server_setting_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PostgresError, match=r"^PostgreSQL did not start: .*no_such_setting.*$"):
        EmbeddedPostgres(tmp_path, {**FAST, "no_such_setting": "1"}).start()


def test_socket_folder_of_another_user_is_not_trusted(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path, FAST)
    socket_folder = Path(make_url(server.url).query["host"])
    socket_folder.symlink_to(tmp_path)
    try:
        with pytest.raises(PostgresError, match="is not a private folder"):
            server.start()
    finally:
        socket_folder.unlink()


def test_without_the_packages_the_programs_on_the_path_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = binaries.find_binaries()
    monkeypatch.setattr(binaries, "BUNDLES", ())
    monkeypatch.setenv("PATH", os.pathsep.join([str(packaged), os.environ["PATH"]]))
    assert binaries.find_binaries() == packaged.resolve()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PostgresError, match="Set DATABASE_URL"):
        binaries.find_binaries()


def passfile_of(server: EmbeddedPostgres) -> Path:
    return Path(psycopg2.extensions.parse_dsn(server.url)["passfile"])


def test_no_role_can_log_in_as_another_without_its_password(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, FAST) as server:
        lines = passfile_of(server).read_text().splitlines()
        passwords = {line.split(":")[3]: line.split(":")[4] for line in lines}
        assert set(passwords) == {"holdfast", *ROLES}
        assert len(set(passwords.values())) == len(passwords)
        for role, password in passwords.items():
            assert ask(address_of(server.url, role), "SELECT session_user") == role
            for other in passwords.keys() - {role}:
                with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
                    psycopg2.connect(address_of(server.url, other), password=password)


def test_file_of_passwords_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, FAST) as server:
        assert passfile_of(server).stat().st_mode & 0o777 == 0o600


def test_server_of_an_earlier_release_asks_for_passwords_from_now_on(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, FAST) as server:
        passfile, hba = passfile_of(server), tmp_path / "data" / "pg_hba.conf"
    hba.write_text("local all all trust\n")
    passfile.unlink()
    with EmbeddedPostgres(tmp_path, FAST) as server:
        assert ask(server.url, "SELECT session_user") == "holdfast"
        with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
            psycopg2.connect(server.url, passfile=f"{tmp_path}/none")


def test_rules_are_not_written_through_a_link(tmp_path: Path) -> None:
    """The folder belongs to the server's user, and root writes the rules."""
    with EmbeddedPostgres(tmp_path / "pg", FAST) as server:
        passwords = Path(psycopg2.extensions.parse_dsn(server.url)["passfile"])
        rules, elsewhere = passwords.parent / "data" / "pg_hba.conf", tmp_path / "elsewhere"
        elsewhere.write_text("theirs")
        rules.rename(tmp_path / "kept")
        rules.symlink_to(elsewhere)
        with pytest.raises(OSError, match="symbolic links"):
            PasswordFile(passwords).apply(server.url, rules, lambda: None)
        assert elsewhere.read_text() == "theirs"


def test_lost_file_of_passwords_is_made_again(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, FAST) as server:
        passfile_of(server).unlink()
    with EmbeddedPostgres(tmp_path, FAST) as server:
        assert ask(address_of(server.url, ROLES[0]), "SELECT session_user") == ROLES[0]
