"""`holdfast profiles`: addresses and keys under a name."""

from __future__ import annotations

import re

import click

from holdfast_client.cli import profile_file
from holdfast_client.cli.connection import Target, checked
from holdfast_client.cli.failures import Misused
from holdfast_client.cli.output import FORMAT, notice, show_all
from holdfast_client.cli.profile_file import Profile

SHOWN_OF_A_KEY = re.compile("hfo?_[^_]+_")  # nothing of a key that has another form
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@click.group()
def profiles() -> None:
    """Store an address and an API key or an operator's key under a name, for --profile."""


@profiles.command("set")
@click.argument("name", default=profile_file.DEFAULT)
@click.option("--url", prompt="Address", help="The address of the Edge API, or of a console.")
@click.option("--api-key", prompt="API key", hide_input=True, help="Asked for, if it is not given.")
def set_(name: str, url: str, api_key: str) -> None:
    """Store a profile. Where nothing else is given, `default` is used; `holdfast ops` and `keys` use `operator`."""
    if not NAME.fullmatch(name):
        raise click.UsageError("The name of a profile has 1 to 64 of A-Z a-z 0-9 . _ -")
    target = checked(Target(url.strip().rstrip("/"), api_key.strip(), "the profile"))
    profile_file.write(profile_file.read() | {name: Profile(target.url, target.api_key)})
    notice(f"Stored the profile {name} in {profile_file.path()}")


@profiles.command("list")
@FORMAT
def list_(output: str) -> None:
    """List the profiles, without the secrets of their keys."""
    stored = profile_file.read()
    rows = [{"name": name, "url": profile.url, "api_key": _shown(profile.api_key)} for name, profile in stored.items()]
    show_all(rows, output, ("name", "url", "api_key"))


@profiles.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Remove a profile. Its API key stays valid."""
    stored = profile_file.read()
    if stored.pop(name, None) is None:
        raise Misused(f"There is no profile {name}.", "See them: holdfast profiles list")
    profile_file.write(stored)
    notice(f"Removed the profile {name}. Its API key is still valid.")


def _shown(api_key: str) -> str:
    found = SHOWN_OF_A_KEY.match(api_key)
    return f"{found[0] if found else ''}…"
