"""The file in which profiles are kept: addresses and keys, which only its owner may read."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from configparser import ConfigParser, Error
from dataclasses import dataclass
from pathlib import Path

import click

from holdfast_client.cli.failures import Misused

DEFAULT = "default"
OWNER_ONLY = 0o600


@dataclass(frozen=True)
class Profile:
    url: str
    api_key: str


def path() -> Path:
    """`~/.config/holdfast/profiles.ini` on Linux; where programs keep their settings elsewhere."""
    return Path(click.get_app_dir("holdfast")) / "profiles.ini"


def read() -> dict[str, Profile]:
    """The profiles by name. Empty: there is no file. :raises Misused: it cannot be used"""
    file = path()
    parser = _parser()
    try:
        with file.open(encoding="utf-8") as opened:
            if os.name == "posix" and stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & 0o077:
                raise Misused(f"Others can read {file}, which has API keys.", f"Run: chmod 600 '{file}'")
            parser.read_file(opened)
        return {name: Profile(parser[name]["url"], parser[name]["api_key"]) for name in parser.sections()}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, Error, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise Misused(f"{file} cannot be read: {reason}", "Correct it or delete it.") from None


def write(profiles: Mapping[str, Profile]) -> None:
    """Replace the file at once. :raises Misused: it cannot be written"""
    parser = _parser()
    for name, profile in profiles.items():
        parser[name] = {"url": profile.url, "api_key": profile.api_key}
    file = path()
    new = file.with_name(f"{file.name}.new")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(new, flags, OWNER_ONLY), "w", encoding="utf-8") as opened:
            parser.write(opened)
        new.replace(file)
    except OSError as error:
        raise Misused(f"{file} cannot be written: {error.strerror}.") from None


def _parser() -> ConfigParser:
    # The name of the section whose values all others would have; none is meant to.
    return ConfigParser(interpolation=None, default_section="")
