"""The console's API, which `holdfast ops` uses: JSON, with the roles and the record of the pages."""

from __future__ import annotations

from typing import Any

from common.api.routes import Api, TextId
from common.database.database import Row
from console import (
    action_routes,
    attention,
    audits,
    endpoint_routes,
    job_routes,
    key_routes,
    listing,
    orders,
    product_routes,
    record,
    schemas,
    watch_schemas,
)
from console.access import VIEWER
from console.context import Console
from console.orders import NoSuchOrder
from console.search import search, things

api = Api(
    "Holdfast Console API",
    "See and mend what runs, across all clients. For operators: it needs a key that begins with `hfo_`.",
    ids={"text": TextId},
)


@api.route("GET", "/api/orders", access=VIEWER, query=schemas.OrderQuery, answer=schemas.OrderPage)
def list_orders(console: Console, query: dict[str, Any]) -> Row:
    """List the orders of all clients, newest first.

    An order must fit all filters. `next_cursor` is null at the end; otherwise send it as `cursor`, with the same
    filters, for the next page.
    """
    return listing.page(console.database, query)


@api.route(
    "GET", "/api/orders/<uuid:order_ledger_id>", access=VIEWER, answer=schemas.OrderDetails, errors=(NoSuchOrder,)
)
def get_order(console: Console, order_ledger_id: str) -> Row:
    """Show all that the books of all services say about an order, and whether they agree."""
    return orders.read(console.database, order_ledger_id)


@api.route("GET", "/api/search", access=VIEWER, query=schemas.SearchQuery, answer=schemas.Found)
def search_orders(console: Console, query: dict[str, Any]) -> Row:
    """Find orders by an id, an address or a name of any kind; and products, webhook endpoints and jobs by their own."""
    text = query["q"].strip()
    return {"orders": search(console.database, text), "others": things(console.database, text)}


@api.route("GET", "/api/status", access=VIEWER, answer=watch_schemas.SystemStatus)
def get_status(console: Console) -> Row:
    """Show how everything is: what is wrong, the last hour, what is in flight, held money, and the processes.

    It is computed at most every two seconds.
    """
    return console.board.status()


@api.route(
    "GET", "/api/attention", access=VIEWER, query=watch_schemas.AttentionQuery, answer=watch_schemas.AttentionPage
)
def list_attention(console: Console, query: dict[str, Any]) -> Row:
    """List the orders and refunds that need a person, the oldest first.

    What an operator has dealt with is left out, unless `all` is true. If it fails again, it is back.
    """
    return attention.page(console.database, query)


@api.route("GET", "/api/audit", access=VIEWER, answer=watch_schemas.Audits)
def get_audit(console: Console) -> Row:
    """Show the last recorded audits, and what each rule of the last one found. `python -m ops audit` runs one."""
    return audits.read(console.database)


@api.route("GET", "/api/record", access=VIEWER, query=watch_schemas.RecordQuery, answer=watch_schemas.RecordPage)
def list_record(console: Console, query: dict[str, Any]) -> Row:
    """List what operators did, and each start of a process, the newest first."""
    return record.page(console.database, query)


for part in (action_routes, job_routes, product_routes, endpoint_routes, key_routes):
    api.operations += part.api.operations
