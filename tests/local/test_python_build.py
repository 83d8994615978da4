"""The notes of `make install` about the Python in use."""

from __future__ import annotations

import sys
import sysconfig

import pytest

from local import python_build

Told = pytest.CaptureFixture[str]


@pytest.fixture
def slow_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/opt/python")
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: "'--enable-shared'")


def test_slow_build_is_named_together_with_a_faster_one(
    slow_build: None, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    monkeypatch.setattr(python_build, "is_usable", lambda python: True)
    assert python_build.main("python3") == 0
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    assert told.startswith(f"note: {sys.executable} was built without optimisation")
    assert "PYTHON=/usr/bin/python3 make install" in told


def test_no_faster_build_is_named_when_there_is_none(
    slow_build: None, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    monkeypatch.setattr(python_build, "SYSTEM_PYTHON", "/no/such/python3")
    assert python_build.main("python3") == 0
    assert capsys.readouterr().out.endswith("that costs about a fifth of the speed\n")


@pytest.mark.parametrize("arguments", ["'--enable-optimizations' '--with-lto'", None])
def test_optimised_build_is_silent(
    slow_build: None, arguments: str | None, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: arguments)
    assert python_build.main("python3") == 0
    assert capsys.readouterr().out == ""


def test_old_python_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch, capsys: Told) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    assert python_build.main("python3.9") == 1
    assert capsys.readouterr().err == (
        "Holdfast needs Python 3.11 or newer, and python3.9 is 3.9. "
        "Choose another, for example: PYTHON=python3.12 make install\n"
    )
