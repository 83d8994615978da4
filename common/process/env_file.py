"""A file of `NAME=value` lines, as shells and process managers read it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from common.process.settings import SettingError


def read(path: Path) -> dict[str, str]:
    """The settings in the file. Empty: there is no such file. :raises SettingError: it cannot be read"""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} cannot be read: {getattr(error, 'strerror', 'it is not text in UTF-8')}") from None
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    return {name: _unquoted(value) for name, separator, value in pairs if separator}


def write(path: Path, values: Mapping[str, str], heading: str) -> None:
    """Replace the file at once. Only its owner may read it. :raises SettingError: it cannot be written"""
    try:
        _write(path, values, heading)
    except OSError as error:
        raise SettingError(f"{path} cannot be written: {error.strerror}") from None


def _write(path: Path, values: Mapping[str, str], heading: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(
        f"{line}\n" for line in (f"# {heading}", *(f"{name}={shlex.quote(value)}" for name, value in values.items()))
    )
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def _unquoted(value: str) -> str:
    try:
        return "".join(shlex.split(value))
    except ValueError:  # an open quotation mark
        return value
