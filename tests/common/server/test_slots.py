"""Requests beyond the limit queue, first come, first served."""

from common.server.slots import Slots


def test_released_slot_passes_to_the_longest_waiter():
    slots = Slots(2)
    assert [slots.acquire(waiter) for waiter in "abcd"] == [True, True, False, False]
    assert slots.release() == "c"
    assert not slots.acquire("e"), "a newcomer does not overtake"
    assert [slots.release(), slots.release()] == ["d", "e"]
    assert [slots.release(), slots.release()] == [None, None]
    assert [slots.acquire(waiter) for waiter in "fgh"] == [True, True, False]
