"""Each command that the pages for operators tell them to type exists."""

from __future__ import annotations

import re

import click
import pytest

from holdfast_client.cli.commands import holdfast
from ops.__main__ import COMMANDS, _parser
from tests.database.test_boundaries import ROOT

PAGES = (
    "runbook.md", "operate.md", "command-line.md", "console.md", "troubleshooting.md", "production-checklist.md",
    "deploy.md", "api-contract.md",
)  # fmt: skip
PLACEHOLDERS = {
    "--query": "status=FAILED",
    "--from": "2027-01-31",
    "--to": "2027-02-01",
    "--reason": "other",
    "--scope": "orders:read",
}
"""What stands for … after an option."""
AN_ID = "00000000-0000-0000-0000-000000000000"
NAMES = {"ID": AN_ID, "AUDIENCE": "inventory"}
KEY_NAMES = {"ID": "0123456789abcdef", "$REPORTS_ID": "0123456789abcdef"}


def commands(page: str) -> set[str]:
    """What the page has in backticks or in a block of commands, without a … at the end that stands for any command."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    typed = re.findall(
        r"^(?:\S*/|\w+=\$\()?((?:holdfast ops|holdfast keys|python -m ops) [^#>|;)\n]+)", blocks, re.MULTILINE
    )
    inline = re.findall(r"`((?:holdfast ops|holdfast keys|python -m ops)\s[^`]+)`", text)
    found = {re.sub(r"(ops|URL|KEY|NAME) …$", r"\1", " ".join(each.split())) for each in [*typed, *inline]}
    return {each for each in found if not each.endswith(" ops")}


ALL = sorted({(page, each) for page in PAGES for each in commands(page)})


def arguments(command: str) -> list[str]:
    """The words behind `ops` or `keys`, with an id and values in the places of ID and …"""
    names = KEY_NAMES if command.startswith("holdfast keys ") else NAMES
    words = re.findall(r'"[^"]*"|\S+', re.split("(?:ops|holdfast keys) ", command, maxsplit=1)[1])
    found: list[str] = []
    for word in words:
        plain = word.strip('"')
        if plain == "…":
            found.append(PLACEHOLDERS.get(found[-1], "text"))
        else:
            found.append(names.get(plain, plain))
    return found


def parse(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """:raises click.UsageError: there is no such command, or it does not take this"""
    context = command.make_context(command.name, words, parent=parent)
    if isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        if rest:
            _, inner, left = command.resolve_command(context, rest)
            assert inner is not None
            parse(inner, left, context)


def check(command: str) -> None:
    if command.startswith("holdfast"):
        parse(holdfast, [command.split()[1], *arguments(command)])
    elif len(words := arguments(command)) == 1:
        assert words[0] in COMMANDS  # its name alone, in a sentence
    else:
        _parser().parse_args(words)


def test_commands_are_found() -> None:
    assert ("runbook.md", "holdfast ops orders --query … retry --reason … --rate 10 --yes") in ALL
    assert ("operate.md", "python -m ops reconcile --from … --to …") in ALL
    assert ("command-line.md", 'holdfast keys rotate "$REPORTS_ID"') in ALL
    assert len([each for page, each in ALL if page == "command-line.md"]) >= 8


@pytest.mark.parametrize(("page", "command"), ALL)
def test_command_can_be_typed(page: str, command: str) -> None:
    check(command)


@pytest.mark.parametrize(
    "command",
    [
        "holdfast ops orders --query … retry --reason … --speed 10",
        "holdfast ops mend ID",
        "holdfast ops cancel ID --yes",
        "holdfast ops orders --query colour=red",
        "holdfast keys create CLIENT --role admin",
        "holdfast keys revoke",
    ],
)
def test_check_detects_a_wrong_command(command: str) -> None:
    with pytest.raises(click.UsageError):
        check(command)


def test_check_detects_a_wrong_command_of_the_database() -> None:
    with pytest.raises(SystemExit):
        check("python -m ops attention forget ID")
