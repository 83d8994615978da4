"""How a command ends: its exit codes, and what it says when something went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any, Protocol

import click

from holdfast_client.errors import HoldfastError, Unavailable

# What to do, by the server's code. A code that is missing here has a message that says it all.
ADVICE = {
    "unauthorized": "Check the API key: HOLDFAST_API_KEY, or `holdfast profiles list`.",
    "forbidden": "Use an API key with the scope for this call.",
    "not_found": "Check the id, and that the API key belongs to the client that made it.",
    "product_not_found": "See the ids: holdfast products list",
    "unknown_product": "See the ids: holdfast products list",
    "payment_declined": "Try another card: --token tok_visa",
    "request_abandoned": "Place the order again, with another --idempotency-key.",
    "idempotency_key_reused": "Use another --idempotency-key, or the arguments of the first call.",
    "duplicate_sku": "Use that product, or another --sku.",
    "order_not_cancellable": "See where it stands: holdfast orders show ORDER_LEDGER_ID",
    "order_not_refundable": "Only a completed order can be refunded. Cancel it: holdfast orders cancel ORDER_LEDGER_ID",
    "refund_exceeds_remaining": "See what was refunded: holdfast orders refunds ORDER_LEDGER_ID",
    "insufficient_stock": "Add pieces: holdfast products stock PRODUCT_ID QUANTITY",
}

ADVICE_OF_CONSOLE = {
    "unauthorized": "Check the operator's key: HOLDFAST_OPERATOR_KEY, or `holdfast profiles list`.",
    "forbidden": "Ask an admin for a key with that role.",
    "order_not_cancellable": "See where it stands: holdfast ops order ORDER_LEDGER_ID",
    "order_not_refundable": "Only a completed order can be refunded. Cancel it: holdfast ops cancel ORDER_LEDGER_ID",
    "refund_exceeds_remaining": "See what was refunded: holdfast ops order ORDER_LEDGER_ID",
    "not_retryable": "See what it is doing: holdfast ops order ORDER_LEDGER_ID",
    "needs_no_attention": "See what does: holdfast ops attention",
    "key_not_valid": "See the keys: holdfast keys list --all",
    "more_orders_fit": "See how many fit now, and start again.",
    "read_only": "The setting CONSOLE_READ_ONLY of the console forbids every change.",
}


class Names(Protocol):
    """What `failed` needs to know of a server."""

    @property
    def server(self) -> str: ...
    @property
    def advice(self) -> Mapping[str, str]: ...
    @property
    def wrong_address(self) -> tuple[str, ...]: ...


class Failed(click.ClickException):
    """What happened, and what to do about it: refused, or found wrong."""

    exit_code = 1

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"Error: {self.message}", file=file, err=file is None)
        if self.advice:
            click.echo(self.advice, file=file, err=file is None)


class Misused(Failed):
    """The command cannot be carried out as it is, or with these settings."""

    exit_code = 2


class Unreachable(Failed):
    """Holdfast gives no final answer."""

    exit_code = 3


class Reporting(click.Group):
    """A group whose commands may raise the exceptions of the client."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HoldfastError as error:
            raise failed(error, ctx.obj.address, ctx.obj.names) from error


def failed(error: HoldfastError, url: str, names: Names) -> Failed:
    """What to say about an exception of the client."""
    if isinstance(error, Unavailable):
        return _unavailable(error, url)
    if error.code in names.wrong_address:
        return Unreachable(f"{url} is not the address of {names.server}. {error.message}", "Check the address.")
    facts = ", ".join(filter(None, (error.code, f"request id {error.request_id}" if error.request_id else "")))
    lines = [f"{error.message} ({facts})" if facts else error.message]
    lines += [f"  {name}: {_as_text(value)}" for name, value in error.details.items()]
    return Failed("\n".join(lines), names.advice.get(error.code, ADVICE.get(error.code, "")))


def _unavailable(error: Unavailable, url: str) -> Failed:
    if error.status is None:
        happened = f"No answer from {url}."
        advice = "Check the address, and that Holdfast runs. On this machine: make run"
    else:
        happened = f"{url} gives no final answer: {error.status} {error.code}."
        advice = "Try again later."
    if error.idempotency_key:
        happened += " It is unknown whether this was done."
        advice += f"\nRepeat it, once or often, with: --idempotency-key {error.idempotency_key}"
    return Unreachable(happened, advice)


def _as_text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
