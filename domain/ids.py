"""Ids of ledger entries, and ids derived from them: an undo must know an id before the step that uses it is sent."""

import secrets
import time
import uuid


def new_order_ledger_id() -> str:
    """Return a UUID that begins with the time (RFC 9562, version 7); 74 of its bits are random.

    Orders that are placed and processed at the same time are then neighbours in every index of the ledger. However many
    orders have ended, only a few pages are in use.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | secrets.randbits(80)
    version, variant = 0x7 << 76, 0b10 << 62
    return str(uuid.UUID(int=value & ~(0xF << 76) & ~(0b11 << 62) | version | variant))


def new_refund_id() -> str:
    """Return an id for a refund, made in the same way."""
    return new_order_ledger_id()


def order_id_for(order_ledger_id: str) -> str:
    """The id of a ledger entry's order: a name-based UUID (RFC 9562, version 5) in the entry's namespace."""
    return str(uuid.uuid5(uuid.UUID(order_ledger_id), "order"))
