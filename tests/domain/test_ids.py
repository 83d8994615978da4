"""Ids of ledger entries: UUIDs of version 7, which begin with a timestamp."""

import time
import uuid

from domain.ids import new_order_ledger_id, order_id_for


def test_ledger_ids_are_unique_uuids_of_version_7():
    ids = [uuid.UUID(new_order_ledger_id()) for _ in range(1000)]
    assert {each.version for each in ids} == {7}
    assert {each.variant for each in ids} == {uuid.RFC_4122}
    assert len({each.int & (1 << 62) - 1 for each in ids}) == 1000


def test_later_ids_are_greater():
    before = time.time_ns() // 1_000_000
    first = new_order_ledger_id()
    while time.time_ns() // 1_000_000 <= int(first[:13].replace("-", ""), 16):
        pass
    assert before <= int(first[:13].replace("-", ""), 16)
    assert first < new_order_ledger_id()


def test_an_entry_has_one_order_id():
    entry, other = new_order_ledger_id(), new_order_ledger_id()
    assert order_id_for(entry) == order_id_for(entry) != order_id_for(other)
    assert uuid.UUID(order_id_for(entry)).version == 5
