"""What the groups share that call the console: `holdfast ops` and `holdfast keys`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import click

from holdfast_client.cli.connection import CONSOLE, Connection

YES = click.option("--yes", is_flag=True, help="Do not ask first.")


def console_options(group: Callable[[], None]) -> Callable[..., None]:
    """Give a group the options that choose a console. Its commands get a connection to that one."""

    @click.option("--console-url", help="The address of the console, such as https://ops.example/holdfast.")
    @click.option("--operator-key", help="An operator's key. Others on this machine can see it: prefer the variable.")
    @click.option("--profile", help="A profile that `holdfast profiles set` has stored.")
    @click.option("--env-url", envvar="HOLDFAST_CONSOLE_URL", hidden=True)
    @click.option("--env-key", envvar="HOLDFAST_OPERATOR_KEY", hidden=True)
    @click.pass_context
    @wraps(group)
    def choose(
        context: click.Context,
        console_url: str | None,
        operator_key: str | None,
        profile: str | None,
        env_url: str | None,
        env_key: str | None,
    ) -> None:
        if context.obj.is_chosen:
            name = context.info_name
            raise click.UsageError(
                f"--url, --api-key and --profile before `{name}` choose an Edge API. Write: holdfast {name}"
                f" --console-url … --operator-key …, or: holdfast {name} --profile …"
            )
        context.obj = Connection(
            given=(console_url, operator_key),
            profile=profile,
            environment=(env_url, env_key),
            retry_for=context.obj.retry_for,
            names=CONSOLE,
        )
        group()

    return choose


def ask(question: str, yes: bool) -> None:
    """:raises click.Abort: the answer is no, or there is none"""
    if not yes:
        click.confirm(question, abort=True, err=True)
