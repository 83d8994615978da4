"""Which Edge API is called, and with which key.

Both come from one place. A key is never sent to an address that was given somewhere else.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click

from holdfast_client.cli import profile_file
from holdfast_client.cli.failures import Misused
from holdfast_client.client import HoldfastClient

OF_MAKE_RUN = Path("var") / "credentials.env"
ON_THIS_MACHINE = "http://127.0.0.1:8000"
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
Pair = tuple[str | None, str | None]


@dataclass(frozen=True)
class Target:
    """An address and a key. `source` says where they were found."""

    url: str
    api_key: str
    source: str


class Connection:
    """The places in which an address and a key are looked for, each only when it is needed."""

    def __init__(
        self, *, given: Pair = (None, None), profile: str | None = None, environment: Pair = (None, None),
        retry_for: float = 0,
    ) -> None:  # fmt: skip
        if profile is not None and any(given):
            raise click.UsageError("--profile has an address and a key: use it without --url and --api-key.")
        self._given, self._profile, self._environment = given, profile, environment
        self._retry_for = retry_for
        self._target: Target | None = None

    @property
    def target(self) -> Target:
        """:raises Misused: there is no key, or the address cannot be used"""
        if self._target is None:
            found = next((target for target in self._found()), None)
            if found is None:
                raise Misused("There is no API key.", "Set HOLDFAST_API_KEY, or run: holdfast profiles set")
            self._target = checked(found)
        return self._target

    @property
    def address(self) -> str:
        return self.target.url

    @property
    def is_local(self) -> bool:
        return urlsplit(self.address).hostname in LOCAL_HOSTS

    def client(self) -> HoldfastClient:
        """:raises Misused: there is no key, or the address cannot be used"""
        target = self.target
        # A proxy of the environment cannot reach this machine's ports.
        return HoldfastClient(target.url, target.api_key, retry_for=self._retry_for, trust_env=not self.is_local)

    def _found(self) -> Iterator[Target]:
        if any(self._given):
            yield _whole(self._given, "--url", "--api-key")
        if self._profile is not None:
            yield _of_profile(self._profile)
        if any(self._environment):
            yield _whole(self._environment, "HOLDFAST_URL", "HOLDFAST_API_KEY")
        if of_make_run := read_env_file(OF_MAKE_RUN):
            yield _whole((of_make_run.get("HOLDFAST_URL"), of_make_run.get("HOLDFAST_API_KEY")), "", str(OF_MAKE_RUN))
        if profile_file.DEFAULT in profile_file.read():
            yield _of_profile(profile_file.DEFAULT)


def checked(target: Target) -> Target:
    """:raises Misused: the address is not http:// or https:// with a host, or the key cannot be sent"""
    try:
        parts = urlsplit(target.url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Misused(f"{target.url} is not an address ({target.source}).", "Use http://… or https://…")
    if not target.api_key.isascii() or not target.api_key.isprintable() or " " in target.api_key:
        raise Misused(f"The API key is not one ({target.source}).", "It has the form hf_…_…")
    return target


def read_env_file(path: Path) -> dict[str, str]:
    """The `NAME=value` lines of a file. Empty: there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Misused(f"{path} cannot be read: {error}.", "Set HOLDFAST_URL and HOLDFAST_API_KEY.") from None
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    try:
        return {name: "".join(shlex.split(value)) for name, separator, value in pairs if separator}
    except ValueError:
        raise Misused(f"{path} has a quotation mark that is not closed.", "Start `make run` again.") from None


def _whole(pair: Pair, url_name: str, key_name: str) -> Target:
    url, api_key = pair
    if not api_key:
        where = f"{url_name} is given, but no API key for it." if url_name else f"{key_name} has no API key."
        raise Misused(where, f"Give {key_name} too." if url_name else "Is `make run` still starting?")
    return Target((url or ON_THIS_MACHINE).rstrip("/"), api_key, key_name)


def _of_profile(name: str) -> Target:
    stored = profile_file.read()
    if name not in stored:
        known = ", ".join(stored) or "none"
        raise Misused(f"There is no profile {name}. Known: {known}.", f"Make it: holdfast profiles set {name}")
    return Target(stored[name].url, stored[name].api_key, f"the profile {name}")


pass_connection = click.make_pass_decorator(Connection)
