"""The pages about orders: the list, the search, and one order."""

from __future__ import annotations

from typing import Any

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from common.api.idempotency import WELL_FORMED
from common.database.database import Row
from console import effects, forms, jobs, listing, orders
from console.context import Console
from console.formats import words
from console.pages import live, page
from console.schemas import OrderQuery
from console.search import search, things
from domain.refunds import REASONS
from domain.states import Status

PAGE_SIZE = "50"
MOMENTS = ("created_from", "created_before")
IN_FLIGHT = ",".join(each for each in Status if not each.is_terminal)


@page("GET", "/orders", role="viewer")
def order_list(console: Console) -> str:
    given, query, problems = forms.asked(OrderQuery(), moments=MOMENTS, limit=PAGE_SIZE)
    nothing: Row = {"orders": [], "next_cursor": None}
    found = nothing if problems else listing.page(console.database, query)
    more = forms.more("order_list", found["next_cursor"], given)
    filters = {name: value for name, value in given.items() if name not in ("cursor", "limit")}
    timeless = {name: value for name, value in filters.items() if name not in MOMENTS}
    return render_template(
        "orders.html",
        **found,
        given=given,
        filters=filters,
        problems=problems,
        more=more,
        have_ended=jobs.have_ended(query),
        statuses={IN_FLIGHT: "all in flight"} | {str(each): words(each) for each in Status},
        recent={name: {**timeless, "created_from": began} for name, began in listing.recent(console.database).items()},
    )


@page("GET", "/search", role="viewer")
def search_page(console: Console) -> str | Response:
    text = request.args.get("q", "").strip()[:320]
    found = search(console.database, text) if text else []
    others = [each | {"address": _address(each)} for each in things(console.database, text)] if text else []
    addresses = [url_for(".order_page", order_ledger_id=each["order_ledger_id"]) for each in found]
    addresses += [each["address"] for each in others]
    if len(addresses) == 1:
        return redirect(addresses[0], 303)
    return render_template("search.html", text=text, orders=found, others=others)


def _address(thing: Row) -> str:
    match thing["kind"]:
        case "product":
            return url_for(".product_page", product_id=thing["id"])
        case "job":
            return url_for(".job_page", job_id=thing["id"])
    return url_for(".webhook_page", webhook_endpoint_id=thing["id"])


@page("GET", "/orders/<uuid:order_ledger_id>", role="viewer")
def order_page(console: Console, order_ledger_id: str) -> str:
    return render_template("order.html", **shown(console, order_ledger_id), key=forms.new_key())


@page("GET", "/orders/<uuid:order_ledger_id>/live", role="viewer")
def order_fragment(console: Console, order_ledger_id: str) -> Response:
    """The part of an order's page that changes. The page asks for it while it is live, with its forms' key."""
    key = request.args.get("key", "")
    key = key if WELL_FORMED.fullmatch(key) else forms.new_key()
    return live(render_template("order_body.html", **shown(console, order_ledger_id), key=key))


def shown(console: Console, order_ledger_id: str) -> dict[str, Any]:
    """What the page of an order shows, without the key of its forms. :raises NoSuchOrder:"""
    order = orders.read(console.database, order_ledger_id)
    return {
        "order": order,
        "is_live": orders.is_live(order),
        "effects": effects,
        "effect": effects.effects_on(order),
        "reasons": REASONS,
    }
