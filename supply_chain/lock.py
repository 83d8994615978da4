"""Write the lock files: every version and its hashes, for every supported Python and platform."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = "3.11"
OUR_PACKAGES = ("holdfast", "holdfast-client")
"""Installed from this repository. The locks leave them out: a folder has no hash."""
WHEELS_ONLY = "--only-binary :all:"
"""The first line of a lock file, so that pip obeys it wherever the file is installed, also on a platform. The file has
hashes of source distributions too, because uv writes those of all files of a release."""


@dataclass(frozen=True)
class Lock:
    """One lock file, the requirements it comes from, and the lock file whose versions it shares."""

    file: str
    sources: tuple[str, ...]
    shares: str | None = None


LOCKS = (
    Lock("locked/test.txt", ("-e .[test]", "-e ./holdfast_client[cli]")),
    Lock("locked/bench.txt", ("-e .[bench]", "-e ./holdfast_client[cli]"), "locked/test.txt"),
    Lock("locked/local.txt", ("-e .[local]", "-e ./holdfast_client[cli]"), "locked/test.txt"),
    Lock("requirements.txt", ("-e .",), "locked/test.txt"),
    Lock("locked/stripe.txt", ("-e .[stripe]",), "locked/test.txt"),
    Lock("locked/traces.txt", ("-e .[traces]",), "locked/test.txt"),
    Lock("locked/peers.txt", ("-r benchmarks/requirements.txt",)),
    Lock("locked/tools.txt", ("-r locked/tools.in",)),
)


def command(lock: Lock) -> list[str]:
    """The uv command that writes one lock file from the requirements on its standard input."""
    words = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "-", "--output-file", lock.file, "--quiet"]
    words += ["--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes", "--no-annotate"]
    words += WHEELS_ONLY.split()  # each package must have a wheel, except our own
    for name in OUR_PACKAGES:
        words += ["--no-emit-package", name, "--no-binary", name]
    return words + (["--constraint", lock.shares] if lock.shares else [])


def main(arguments: list[str]) -> None:
    """Write all lock files. The versions stay as they are, unless `--upgrade` or `--upgrade-package` is given."""
    environ = {**os.environ, "UV_CUSTOM_COMPILE_COMMAND": "make lock"}
    for lock in LOCKS:
        words = [*command(lock), *arguments]
        subprocess.run(words, cwd=PROJECT, env=environ, input="\n".join(lock.sources), text=True, check=True)
        path = PROJECT / lock.file
        path.write_text(f"{WHEELS_ONLY}\n{path.read_text(encoding='utf-8')}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
