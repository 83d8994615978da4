"""Requests whose client did not return: what closes them.

Such an entry has no authorization and becomes due like any other. The claim marks it, so that its request can no longer
continue. It is closed once the payments service has confirmed that no hold is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.calls.client import Answer
from domain.states import ABANDONED, authorize_key

if TYPE_CHECKING:
    from orchestrator.calls import Calls
    from orchestrator.saga import Sale

CLOSE_ABANDONED = "void_abandoned_authorization"
MARK = {
    "abandoned": ABANDONED,
    "abandoned_message": "The request was not finished in time and is closed; nothing is held.",
}
"""What the claim writes into an abandoned entry, as parameters of the statement."""


def void_abandoned_authorization(payments: Calls, saga: Sale) -> Answer:
    """Void by the key of the authorize call, whose answer is unknown. If that call arrives later, it is refused."""
    return payments.ask(
        "POST",
        "/payments/void",
        {
            "authorization_key": authorize_key(saga.id),
            "idempotency_key": f"abandon:{saga.id}",
            "reason": "request abandoned",
        },
        refusals=frozenset({"already_captured"}),
        is_yes=lambda voided: voided["status"] == "VOIDED",
    )
