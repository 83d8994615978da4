"""Models of the orders and inventory services, and the one door to all three participants.

`test_model_of_participants.py` sends every request in every state to the real services and compares the answers.
"""

from __future__ import annotations

import json

from common.api.errors import ApiError, IdempotencyKeyReused
from domain.ids import order_id_for
from inventory_service.errors import InsufficientStock, ProductNotFound, ReservationReleased
from orders_service.errors import InvalidStatusTransition, OrderNotFound
from tests.model.books import (
    Books,
    Handled,
    Handler,
    Order,
    Reservation,
    Returned,
    answer,
    find,
    once,
    put,
    refused,
)
from tests.model.network import Request, Response
from tests.model.payments import payments


def orders(books: Books, request: Request) -> Handled:
    if request.method == "POST":
        return _create(books, request.body)
    order_id, verb = request.path.split("/")[2:]
    return _cancel(books, order_id) if verb == "cancel" else _confirm(books, order_id)


def _create(books: Books, body: str) -> Handled:
    order_id = order_id_for(json.loads(body)["order_ledger_id"])
    order = find(books.orders, order_id)
    if order is None:
        order = Order(order_id, "CREATED", body)
        return books._replace(orders=put(books.orders, order)), _show(order, 201)
    if order.sent not in ("", body):
        raise IdempotencyKeyReused(order_id=order_id)
    if order.status == "CANCELLED":
        raise InvalidStatusTransition("CANCELLED", "CREATED")
    return books, _show(order, 200)


def _cancel(books: Books, order_id: str) -> Handled:
    order = find(books.orders, order_id)
    if order is None or not order.sent:
        return books._replace(orders=put(books.orders, Order(order_id, "CANCELLED"))), refused(OrderNotFound(order_id))
    return _end(books, order, "CANCELLED")


def _confirm(books: Books, order_id: str) -> Handled:
    order = find(books.orders, order_id)
    if order is None or not order.sent:
        raise OrderNotFound(order_id)
    return _end(books, order, "CONFIRMED")


def _end(books: Books, order: Order, status: str) -> Handled:
    if order.status not in ("CREATED", status):
        raise InvalidStatusTransition(order.status, status)
    order = order._replace(status=status)
    return books._replace(orders=put(books.orders, order)), _show(order, 200)


def _show(order: Order, status: int) -> Response:
    body = json.loads(order.sent)
    return answer(status, id=order.id, order_ledger_id=body["order_ledger_id"], status=order.status)


def inventory(books: Books, request: Request) -> Handled:
    if request.path.endswith("/stock"):
        sent = request.path + request.body
        return once(books, f"stock {request.key}", sent, lambda: _restock(books, request))
    if request.method == "POST":
        return _reserve(books, request.body)
    return _release(books, request.path.split("/")[3])


def _reserve(books: Books, body: str) -> Handled:
    sent = json.loads(body)
    order_id, (item,) = sent["order_id"], sent["items"]
    known, quantity = find(books.reservations, order_id), item["quantity"]
    if known and known.status == "RELEASED":
        raise ReservationReleased(order_id=order_id)
    if known and known.sent != body:
        raise IdempotencyKeyReused()
    if not known:
        if books.is_gone:
            raise ProductNotFound(product_ids=[item["product_id"]])
        if quantity > books.stock:
            raise InsufficientStock(item["product_id"], "sku", requested=quantity, available=books.stock)
        rows = put(books.reservations, Reservation(order_id, "RESERVED", body, quantity))
        books = books._replace(stock=books.stock - quantity, reservations=rows)
    return books, answer(201, order_id=order_id, total_quantity_reserved=quantity)


def _release(books: Books, order_id: str) -> Handled:
    known = find(books.reservations, order_id) or Reservation(order_id, "RELEASED")
    restored = known.quantity if known.status == "RESERVED" else 0
    rows = put(books.reservations, known._replace(status="RELEASED"))
    return (
        books._replace(stock=books.stock + restored, reservations=rows),
        answer(200, order_id=order_id, total_quantity_restored=restored),
    )


def _restock(books: Books, request: Request) -> Handled:
    product, body = request.path.split("/")[3], json.loads(request.body)
    if books.is_gone:
        raise ProductNotFound(product_ids=[product])
    reference, quantity = body["reference_id"], body["quantity"]
    known = find(books.returned, reference) or Returned(reference, 0)
    return (
        books._replace(
            received=books.received + quantity,
            stock=books.stock + quantity,
            returned=put(books.returned, known._replace(quantity=known.quantity + quantity)),
        ),
        answer(200, product_id=product, added_quantity=quantity),
    )


SERVICES: dict[str, Handler] = {"orders": orders, "inventory": inventory, "payments": payments}


def handle(books: Books, request: Request) -> Handled:
    """The books after a request, and its response."""
    try:
        return SERVICES[request.service](books, request)
    except ApiError as refusal:
        return books, refused(refusal)
