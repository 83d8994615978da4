"""Ids that follow from other ids, so that an undo knows them before the do is sent."""

import uuid


def order_id_for(order_ledger_id: str) -> str:
    """The id of the order that a ledger entry leads to: a name-based UUID (RFC 9562, v5) in the entry's space."""
    return str(uuid.uuid5(uuid.UUID(order_ledger_id), "order"))
