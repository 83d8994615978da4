"""The folder in which the workers of a web process keep their values, so that any of them can answer for all.

This module does not import prometheus_client, which must not be imported before VARIABLE names the folder.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "holdfast-metrics-"
LOCK = "lock"
MEMORY = Path("/dev/shm")  # not on a disk, to which each value would be written back
ROOM = 16 * 2**20  # bytes. A process that writes to memory that is full is killed by SIGBUS


class Folder:
    """Made by the master before it forks. A lock on it, which its workers inherit, lasts as long as any of them."""

    def __init__(self, parent: Path | None = None) -> None:
        """:raises OSError:"""
        parent = parent or _parent()
        _delete_abandoned(parent)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        new = self.path / f"{LOCK}.new"  # another master that starts must not find it before it is locked
        self._life = new.open("wb")
        fcntl.flock(self._life, fcntl.LOCK_EX)
        new.rename(self.path / LOCK)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._life.close()


def _parent() -> Path:
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM
    return MEMORY if has_room else Path(tempfile.gettempdir())


def _delete_abandoned(parent: Path) -> None:
    """Delete what masters that were killed have left: nobody holds the lock any more."""
    for path in parent.glob(f"{PREFIX}*"):
        try:
            with (path / LOCK).open("r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except OSError:  # it is in use, is being made, or is another user's
            continue
