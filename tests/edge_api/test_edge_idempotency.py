"""A repeated key gets the first response and has no second effect, in any process, however many calls run at once."""

from __future__ import annotations

import uuid
from collections import Counter
from functools import partial

import pytest
from marshmallow import fields

from edge_api import operations
from edge_api.app import create_app
from edge_api.routes import api
from tests.at_once import at_once
from tests.edge_api.conftest import USER_ID, Shop
from tests.edge_api.neighbours import Held, request_lost

EFFECTS = ("order_ledger", "outbox", "payment_authorizations")


def is_replay(response, first):
    return (response.status_code, response.data) == (first.status_code, first.data) and (
        response.headers["Idempotency-Replayed"] == "true"
    )


def test_an_accepted_order_is_replayed(shop, count):
    first, second = shop.order(), shop.order()
    assert first.status_code == 202
    assert is_replay(second, first)
    assert second.headers["Location"] == first.headers["Location"]
    assert count(*EFFECTS) == [1, 1, 1]


def test_accepted_order_is_replayed_after_the_saga_has_advanced(shop, sql):
    first = shop.order()
    sql("UPDATE order_ledger SET status = 'ORDER_CREATED', claim_number = 5")
    assert is_replay(shop.order(), first)


@pytest.mark.parametrize(
    ("token", "decline_code"),
    [
        ("tok_decline_insufficient", "insufficient_funds"),
        ("tok_decline_expired", "card_expired"),
        ("tok_decline_stolen", "card_declined"),
        ("tok_decline_whatever", "generic_decline"),
    ],
)
def test_a_declined_payment_is_replayed(shop, payments, count, entry, token, decline_code):
    first = shop.order(token=token)
    assert (first.status_code, first.json["error"]) == (402, "payment_declined")
    row = entry()
    assert first.json["details"] == {
        "decline_code": decline_code,
        "is_retryable": False,
        "order_ledger_id": row["id"],
    }
    assert (row["status"], row["failure_code"]) == ("AUTHORIZATION_FAILED", "payment_declined")
    assert decline_code in row["failure_message"]
    assert is_replay(shop.order(token=token), first)
    assert len(payments.requests) == 1
    assert count("order_ledger", "outbox") == [1, 0]


def test_an_unknown_product_is_replayed(shop, inventory, count, sql):
    items = [{"product_id": str(uuid.uuid4()), "quantity": 1}]
    first = shop.order(items=items)
    assert is_replay(shop.order(items=items), first)
    assert len(inventory.requests) == 1
    assert count("order_ledger", "refused_requests") == [0, 1]


OTHER_BODIES = [
    {"quantity": 3},
    {"token": "tok_mastercard"},
    {"email": "c@b.example"},
    {"currency": "EUR"},
    {"user_id": str(uuid.uuid4())},
]


@pytest.mark.parametrize("other", OTHER_BODIES, ids=lambda other: next(iter(other)))
@pytest.mark.parametrize("token", ["tok_visa", "tok_decline_stolen"])
def test_a_key_with_another_body_is_refused(shop, payments, count, entry, token, other):
    shop.order(token=token)
    before = entry()
    response = shop.order(**{"token": token, **other})
    assert (response.status_code, response.json["error"]) == (422, "idempotency_key_reused")
    assert "Idempotency-Replayed" not in response.headers
    assert entry() == before
    assert len(payments.requests) == 1
    assert count("outbox") == [int(token == "tok_visa")]


def test_a_refused_key_with_another_body_is_refused(shop, payments, count):
    shop.order(items=[{"product_id": str(uuid.uuid4()), "quantity": 1}])
    assert shop.order().json["error"] == "idempotency_key_reused"
    assert count("order_ledger") == [0]
    assert payments.requests == []


def test_a_key_with_another_body_is_refused_while_the_first_request_runs(shop, payments, in_background, count):
    payments.then(held := Held())
    first = in_background.submit(shop.order)
    held.wait()
    assert shop.order(quantity=3).json["error"] == "idempotency_key_reused"
    held.go()
    assert first.result().status_code == 202
    assert count(*EFFECTS) == [1, 1, 1]


def test_the_order_of_names_in_a_body_does_not_matter(shop):
    first = shop.order()
    body = shop.order_body()
    assert is_replay(shop.post(json={name: body[name] for name in reversed(body)}), first)


def test_equivalent_body_in_another_form_is_another_request(shop):
    shop.order()
    line = {"product_id": shop.product_id, "quantity": 1}
    for other in ({"currency": "USD"}, {"items": [line, line]}, {"user_id": USER_ID.upper()}):
        assert shop.order(**other).json["error"] == "idempotency_key_reused"


def test_a_new_field_with_a_default_changes_no_fingerprint(shop, monkeypatch):
    first = shop.order()
    (schema,) = [operation.body for operation in api.operations if operation.view.__name__ == "place_order"]
    new = fields.String(load_default="a default of the next release")
    new._bind_to_schema("new", schema)
    monkeypatch.setitem(schema.load_fields, "new", new)
    assert is_replay(shop.order(), first)
    assert shop.order(new="another value").json["error"] == "idempotency_key_reused"


def test_a_repeat_waits_for_the_running_request(shop, payments, in_background, monkeypatch, count):
    class Pauses(tuple):
        """Endless pauses; the first wait releases the held request."""

        def __iter__(self):
            held.go()
            return super().__iter__()

    payments.then(held := Held())
    monkeypatch.setattr(operations, "REPEAT_WAITS_S", Pauses([0.01] * 1000))
    first = in_background.submit(shop.order)
    held.wait()
    second = shop.order()
    assert is_replay(second, first.result())
    assert count(*EFFECTS) == [1, 1, 1]


def test_repeat_of_a_slow_request_is_told_to_retry(shop, payments, in_background, entry):
    payments.then(held := Held())
    first = in_background.submit(shop.order)
    held.wait()
    before = entry()
    response = shop.order()
    assert (response.status_code, response.json["error"]) == (409, "request_in_progress")
    assert int(response.headers["Retry-After"]) >= 1
    assert entry() == before
    held.go()
    assert is_replay(shop.order(), first.result())
    assert len(payments.requests) == 1


@pytest.mark.parametrize(("token", "status"), [("tok_visa", 202), ("tok_decline_stolen", 402)])
def test_one_key_sixty_times_at_once_has_one_effect(shop, service_settings, payments, count, token, status):
    instances = [Shop(create_app(service_settings), shop.product_id) for _ in range(3)]
    answers = at_once([partial(instance.order, token=token) for instance in instances * 20])
    assert {answer.status_code for answer in answers} <= {status, 409}
    (first,) = {answer.data for answer in answers if answer.status_code == status}
    replayed = Counter("Idempotency-Replayed" in answer.headers for answer in answers if answer.status_code == status)
    assert replayed[False] == 1
    assert len(payments.requests) == 1
    assert count(*EFFECTS) == [1, int(status == 202), 1]
    assert shop.order(token=token).data == first


def test_many_keys_at_once_have_one_effect_each(shop, count):
    answers = at_once([partial(shop.order, f"key-{number % 10}") for number in range(40)])
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.data for answer in answers if answer.status_code == 202}) == 10
    assert count(*EFFECTS) == [10, 10, 10]


def test_one_refusal_is_stored_for_simultaneous_requests(shop, count):
    items = [{"product_id": str(uuid.uuid4()), "quantity": 1}]
    answers = at_once([partial(shop.order, items=items)] * 10)
    assert {answer.status_code for answer in answers} == {422}
    assert count("refused_requests") == [1]


def test_an_order_without_prices_is_not_stored(shop, inventory, payments, count):
    inventory.then(request_lost(), request_lost())
    response = shop.order()
    assert (response.status_code, response.json["error"]) == (503, "service_unavailable")
    assert int(response.headers["Retry-After"]) >= 1
    assert count("order_ledger", "refused_requests") == [0, 0]
    assert payments.requests == []
    assert shop.order().status_code == 503  # it is not stored
    assert shop.order().status_code == 202


def test_a_replay_needs_no_other_service(shop, inventory, payments):
    first = shop.order()
    inventory.then(request_lost())
    payments.then(request_lost())
    assert is_replay(shop.order(), first)
