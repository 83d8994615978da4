"""The metrics of a gunicorn: what must not end its master."""

from __future__ import annotations

import logging
import socket
import tempfile
from pathlib import Path

import pytest

from common.metrics import folder as module
from common.metrics.folder import Folder
from common.metrics.workers import Workers


def test_file_of_somebody_else_does_not_end_the_master(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as listener, caplog.at_level(logging.WARNING):
        metrics = Workers("edge_api", listener, Folder(tmp_path))
        (metrics._folder.path / "gauge_x.db").write_bytes(b"x")
        metrics.after_worker()
        metrics.end()
    assert "are not added up" in caplog.text


def test_memory_without_room_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, other = tmp_path / "memory", tmp_path / "other"
    for path in (memory, other):
        path.mkdir()
    monkeypatch.setattr(module, "MEMORY", memory)
    monkeypatch.setattr(tempfile, "tempdir", str(other))
    for room, parent in ((1, memory), (2**62, other)):
        monkeypatch.setattr(module, "ROOM", room)
        used = Folder()
        assert used.path.parent == parent
        used.remove()
