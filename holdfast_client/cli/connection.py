"""Which Edge API is called, and with which key.

Both come from one place. A key is never sent to an address that was given somewhere else.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import click

from holdfast_client.cli import profile_file
from holdfast_client.cli.failures import ADVICE_OF_CONSOLE, Misused
from holdfast_client.client import HoldfastClient
from holdfast_client.console import ConsoleClient

OF_MAKE_RUN = Path("var") / "credentials.env"
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
Pair = tuple[str | None, str | None]


@dataclass(frozen=True)
class Target:
    """An address and a key. `source` says where they were found."""

    url: str
    api_key: str
    source: str


@dataclass(frozen=True)
class Names:
    """What the settings of one server are called, and where it is on this machine."""

    server: str
    options: tuple[str, str]
    variables: tuple[str, str]
    on_this_machine: str
    profile: str
    """The profile that is used where nothing else is given."""
    form: str
    """Of its keys."""
    advice: Mapping[str, str] = field(default_factory=dict)
    """What to do, by the code of a refusal, where it is not what ADVICE says."""
    wrong_address: tuple[str, ...] = ("unreadable_answer",)
    """Codes that it does not answer."""


EDGE = Names(
    "an Edge API",
    ("--url", "--api-key"),
    ("HOLDFAST_URL", "HOLDFAST_API_KEY"),
    "http://127.0.0.1:8000",
    profile_file.DEFAULT,
    "hf_…_…",
)
CONSOLE = Names(
    "a console",
    ("--console-url", "--operator-key"),
    ("HOLDFAST_CONSOLE_URL", "HOLDFAST_OPERATOR_KEY"),
    "http://127.0.0.1:8400",
    "operator",
    "hfo_…_…",
    ADVICE_OF_CONSOLE,
    ("unreadable_answer", "not_found"),  # of an order that it does not know it says order_not_found
)


class Connection:
    """The places in which an address and a key are looked for, each only when it is needed."""

    def __init__(
        self, *, given: Pair = (None, None), profile: str | None = None, environment: Pair = (None, None),
        retry_for: float = 0, names: Names = EDGE,
    ) -> None:  # fmt: skip
        if profile is not None and any(given):
            raise click.UsageError(f"--profile has an address and a key: use it without {' and '.join(names.options)}.")
        self._given, self._profile, self._environment = given, profile, environment
        self.retry_for, self.names = retry_for, names
        self._target: Target | None = None

    @property
    def is_chosen(self) -> bool:
        """Whether the command line says which one."""
        return any(self._given) or self._profile is not None

    @property
    def target(self) -> Target:
        """:raises Misused: there is no key, or the address cannot be used"""
        if self._target is None:
            found = next((target for target in self._found()), None)
            if found is None:
                raise Misused(
                    "There is no operator key." if self.names is CONSOLE else "There is no API key.",
                    f"Set {self.names.variables[1]}, or run: holdfast profiles set"
                    + ("" if self.names is EDGE else f" {self.names.profile}"),
                )
            self._target = checked(found, self.names.form)
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
        return HoldfastClient(target.url, target.api_key, retry_for=self.retry_for, trust_env=not self.is_local)

    def console(self) -> ConsoleClient:
        """:raises Misused: as `client`"""
        target = self.target
        return ConsoleClient(target.url, target.api_key, retry_for=self.retry_for, trust_env=not self.is_local)

    def _found(self) -> Iterator[Target]:
        url, key = self.names.variables
        if any(self._given):
            yield self._whole(self._given, *self.names.options)
        if self._profile is not None:
            yield _of_profile(self._profile)
        if any(self._environment):
            yield self._whole(self._environment, url, key)
        if of_make_run := read_env_file(OF_MAKE_RUN):
            yield self._whole((of_make_run.get(url), of_make_run.get(key)), "", str(OF_MAKE_RUN))
        if self.names.profile in profile_file.read():
            yield _of_profile(self.names.profile)

    def _whole(self, pair: Pair, url_name: str, key_name: str) -> Target:
        url, api_key = pair
        if not api_key:
            what = "operator key" if self.names is CONSOLE else "API key"
            where = f"{url_name} is given, but no {what} for it." if url_name else f"{key_name} has no {what}."
            raise Misused(where, f"Give {key_name} too." if url_name else "Is `make run` still starting?")
        return Target((url or self.names.on_this_machine).rstrip("/"), api_key, key_name)


def checked(target: Target, form: str = EDGE.form) -> Target:
    """:raises Misused: the address is not http:// or https:// with a host, or the key cannot be sent"""
    try:
        parts = urlsplit(target.url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Misused(f"{target.url} is not an address ({target.source}).", "Use http://… or https://…")
    if not target.api_key.isascii() or not target.api_key.isprintable() or " " in target.api_key:
        raise Misused(f"The key is not one ({target.source}).", f"It has the form {form}")
    return target


def read_env_file(path: Path) -> dict[str, str]:
    """The `NAME=value` lines of a file. Empty: there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Misused(f"{path} cannot be read: {error}.", "Set the variables that it would have.") from None
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    try:
        return {name: "".join(shlex.split(value)) for name, separator, value in pairs if separator}
    except ValueError:
        raise Misused(f"{path} has a quotation mark that is not closed.", "Start `make run` again.") from None


def _of_profile(name: str) -> Target:
    stored = profile_file.read()
    if name not in stored:
        known = ", ".join(stored) or "none"
        raise Misused(f"There is no profile {name}. Known: {known}.", f"Make it: holdfast profiles set {name}")
    return Target(stored[name].url, stored[name].api_key, f"the profile {name}")


pass_connection = click.make_pass_decorator(Connection)
