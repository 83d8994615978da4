"""Foreign text becomes one short, storable line."""

import pytest

from common.json_text.storable import storable


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("No.", "No."), ("a\x00\x01b", "a b"), ("a\r\nb\n", "a b"), ("\ud800é\U0001f600", "é\U0001f600"), ("\x85", ""),
        ("a\u2028b", "a b"),
    ],
)  # fmt: skip
def test_unfit_characters_become_a_space(text, stored):
    assert storable(text) == stored
    stored.encode()


def test_long_text_is_cut():
    assert storable("x" * 11, max_length=10) == "x" * 9 + "…"
    assert storable("x" * 10, max_length=10) == "x" * 10
