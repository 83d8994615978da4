"""Sagas for tests."""

from typing import Any

from domain.states import Status
from orchestrator.saga import Sale


def saga(**changes: Any) -> Sale:
    fixed = {
        "id": "11111111-1111-4111-8111-111111111111",
        "claim_number": 2,
        "request_id": "r",
        "user_id": "22222222-2222-4222-8222-222222222222",
        "order_id": "33333333-3333-4333-8333-333333333333",
        "currency": "USD",
        "total_amount_cents": 500,
        "payment_authorization_id": "auth_1",
        "items": (),
        "status": Status.AUTHORIZED,
    }
    return Sale(**(fixed | changes))


def turned_back(at: Status, **changes: Any) -> Sale:
    return saga(status=Status.COMPENSATING, compensating_from=at, failure=("why", "because"), **changes)
