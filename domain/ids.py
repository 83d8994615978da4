"""Ids of ledger entries, and ids that follow from them, so that an undo knows them before the do is sent."""

import secrets
import time
import uuid


def new_order_ledger_id() -> str:
    """A UUID that begins with the time (RFC 9562, version 7).

    What is taken at the same time, and worked on at the same time, so stands together in every index of the ledger:
    however many orders have ended, the pages in use are few. 74 of its bits are random.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | secrets.randbits(80)
    version, variant = 0x7 << 76, 0b10 << 62
    return str(uuid.UUID(int=value & ~(0xF << 76) & ~(0b11 << 62) | version | variant))


def order_id_for(order_ledger_id: str) -> str:
    """The id of the order that a ledger entry leads to: a name-based UUID (RFC 9562, v5) in the entry's space."""
    return str(uuid.uuid5(uuid.UUID(order_ledger_id), "order"))
