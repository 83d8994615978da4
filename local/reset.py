"""`make reset`: delete everything in the embedded database."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from local.binaries import PostgresError
from local.postgres import EmbeddedPostgres


def main(environ: Mapping[str, str], data_dir: Path, *, is_sure: bool) -> int:
    """Ask, then delete the data; 0 when there is none left."""
    if environ.get("DATABASE_URL"):
        return _refuse("DATABASE_URL is set, and only the embedded database is ever deleted: unset it first")
    server = EmbeddedPostgres(data_dir)
    if not server.has_data:
        print(f"There is no data in {server.folder}: nothing to delete.")
        return 0
    if not is_sure and not _confirmed(server.folder):
        return _refuse("Nothing was deleted. (make reset YES=1 deletes without asking.)")
    try:
        server.delete_data()
    except (PostgresError, OSError) as error:
        return _refuse(f"Nothing was deleted: {error}")
    print("All data was deleted. `make run` starts with an empty database.")
    return 0


def _confirmed(folder: Path) -> bool:
    print(f"This deletes all orders, products and payments in {folder}. Delete them? [y/N] ", end="", flush=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):  # there is nobody to ask
        print()
    return answer.strip().lower() in ("y", "yes")


def _refuse(reason: str) -> int:
    sys.stderr.write(f"{reason}\n")
    return 1
