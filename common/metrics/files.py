"""The workers' values: read together, and those of dead workers added up.

Each worker writes to files of its own. Those of the dead are added to one, so that restarts fill no memory: their
counts stay, and their gauges go.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

COUNTED = ("counter", "histogram")
DEAD = "dead"
READING = "reading"


class Collector:
    """Reads all files, while none of them is folded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Any]:
        with (self._folder / READING).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            files = [str(path) for path in self._folder.glob("*.db") if _is_begun(path)]
            return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]


def fold(folder: Path, is_alive: Callable[[int], bool]) -> None:
    """Add the counts of dead workers to one file, and delete theirs. Delete their gauges.

    While somebody reads, the counts are left for the next time.

    :raises OSError:
    """
    dead = [path for path in folder.glob("*.db") if path.stem.endswith(DEAD) or not is_alive(_owner(path))]
    for path in dead:
        if path.name.startswith("gauge_"):
            path.unlink()  # also while somebody reads: prometheus_client leaves out one that is gone
    with (folder / READING).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the master must not wait for a worker that hangs
        except BlockingIOError:
            return
        for kind in COUNTED:
            _fold(folder / f"{kind}_{DEAD}.db", [path for path in dead if path.name.startswith(f"{kind}_")])


def _fold(total: Path, files: list[Path]) -> None:
    if set(files) <= {total}:
        return
    new = total.with_suffix(".new")
    new.unlink(missing_ok=True)
    sums = MmapedDict(str(new))  # type: ignore[no-untyped-call]
    for path in filter(_is_begun, files):
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            sums.write_value(key, sums.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
    sums.close()  # type: ignore[no-untyped-call]
    new.replace(total)
    for path in files:
        if path != total:
            path.unlink()


def _is_begun(path: Path) -> bool:
    """A worker makes its file empty, and then writes to it. The file of a gauge may be gone."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _owner(path: Path) -> int:
    """The process id in the name."""
    return int(path.stem.rpartition("_")[2])
