"""The values of workers that have ended are added up, and those of the living stay as they are."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from common.metrics import files
from common.metrics.folder import PREFIX, Folder

ALIVE, DEAD, ALSO_DEAD = 11, 12, 13


def write(folder: Path, kind: str, pid: int | str, **values: float) -> None:
    """Write as prometheus_client does in a process with this number."""
    values_of = MmapedDict(str(folder / f"{kind}_{pid}.db"))
    for name, value in values.items():
        key = mmap_key(name, name, ["service"], ["edge_api"], "help")
        values_of.write_value(key, values_of.read_value(key)[0] + value, 0.0)
    values_of.close()


def read(folder: Path) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(files.Collector(folder))
    return {sample.name: sample.value for metric in registry.collect() for sample in metric.samples}


def is_alive(pid: int) -> bool:
    return pid == ALIVE


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.db")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for pid in (ALIVE, DEAD, ALSO_DEAD):
        write(tmp_path, "counter", pid, requests_total=pid)
        write(tmp_path, "histogram", pid, times_sum=pid)
        write(tmp_path, "gauge_livesum", pid, connections=pid)
    return tmp_path


def test_counts_of_the_dead_stay_and_their_gauges_go(folder: Path) -> None:
    before = read(folder)
    files.fold(folder, is_alive)
    after = read(folder)
    assert (before.pop("connections"), after.pop("connections")) == (36, ALIVE)
    assert after == before == {"requests_total": 36, "times_sum": 36}
    kinds = ("counter", "histogram")
    assert names(folder) == {f"{kind}_{who}.db" for kind in kinds for who in (ALIVE, "dead")} | {"gauge_livesum_11.db"}


def test_number_of_files_does_not_grow_with_restarts(folder: Path) -> None:
    for pid in range(100, 120):
        write(folder, "counter", pid, requests_total=1, **{f"new_{pid}_total": 1})
        files.fold(folder, is_alive)
    assert len(names(folder)) == 5
    after = read(folder)
    assert after["requests_total"] == 56
    assert after["new_100_total"] == after["new_119_total"] == 1


def test_file_that_is_being_made_is_no_error(folder: Path) -> None:
    for pid in (ALIVE, 14):
        (folder / f"counter_{pid}0.db").touch()
    assert read(folder)["requests_total"] == 36
    files.fold(folder, is_alive)
    assert read(folder)["requests_total"] == 36


def test_fold_that_was_broken_off_is_repeated(folder: Path) -> None:
    (folder / "counter_dead.new").write_bytes(b"\0" * 70_000)
    files.fold(folder, is_alive)
    assert read(folder)["requests_total"] == 36


def test_fold_does_not_wait_for_a_worker_that_reads(folder: Path) -> None:
    counts = {name for name in names(folder) if not name.startswith("gauge_")}
    with (folder / files.READING).open("ab") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        files.fold(folder, is_alive)
        assert names(folder) == {*counts, f"gauge_livesum_{ALIVE}.db"}
    files.fold(folder, is_alive)
    assert len(names(folder)) == 5


def test_each_start_has_a_folder_of_its_own_and_deletes_abandoned_ones(tmp_path: Path) -> None:
    used = Folder(tmp_path)
    killed = tmp_path / f"{PREFIX}killed"
    killed.mkdir()
    (killed / "lock").touch()
    write(killed, "counter", 5, requests_total=1)
    others = tmp_path / "something-else"
    others.mkdir()
    new = Folder(tmp_path)
    assert set(tmp_path.iterdir()) == {used.path, new.path, others}
    assert names(new.path) == set()
    assert os.stat(new.path).st_mode & 0o077 == 0
    new.remove()
    assert set(tmp_path.iterdir()) == {used.path, others}
    used.remove()


def test_folder_that_is_being_made_is_left_alone(tmp_path: Path) -> None:
    """Another master has made its folder, and not locked it yet."""
    young = tmp_path / f"{PREFIX}young"
    young.mkdir()
    Folder(tmp_path).remove()
    assert young.exists()


def test_masters_that_start_together_keep_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, others = fcntl.flock, list[Folder]()

    def another_is_first(file: IO[bytes], operation: int) -> None:
        if not others:
            monkeypatch.undo()
            others.append(Folder(tmp_path))
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", another_is_first)
    first = Folder(tmp_path)
    assert set(tmp_path.iterdir()) == {first.path, others[0].path}
    later = Folder(tmp_path)
    assert set(tmp_path.iterdir()) == {first.path, others[0].path, later.path}
    for each in (first, *others, later):
        each.remove()
