"""Who comes on top waits, and is served in turn."""

from common.server.slots import Places


def test_a_place_goes_to_who_has_waited_longest():
    places = Places(2)
    assert [places.take(guest) for guest in "abcd"] == [True, True, False, False]
    assert places.leave() == "c"
    assert not places.take("e"), "who comes later does not take it"
    assert [places.leave(), places.leave()] == ["d", "e"]
    assert [places.leave(), places.leave()] == [None, None]
    assert [places.take(guest) for guest in "fgh"] == [True, True, False]


def test_who_waits_again_is_behind_all_others():
    places = Places(1)
    assert places.take("a")
    places.take("b")
    places.wait_again("a")
    assert [places.leave(), places.leave(), places.leave()] == ["b", "a", None]
    assert places.take("c")
    places.wait_again("c")
    assert places.leave() == "c"
