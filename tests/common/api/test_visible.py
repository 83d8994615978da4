"""Visible and invisible text."""

import pytest

from common.api.visible import is_visible


@pytest.mark.parametrize(
    "text",
    [
        "", " ", " \u00a0\u2003\u3000", "\u200b\u200c\u200d\u2060\ufeff", "\u202e\u202c\u2066\u2069\u200f", "\u00ad",
        "\u0378", "\U000e0001\U000e0041", "\ue000", "\u115f\u1160\u3164\uffa0", "\u2800", "\u034f", "\ufe0f", "\u0301",
    ],
    ids=ascii,
)  # fmt: skip
def test_text_without_a_visible_character(text):
    assert not is_visible(text)


@pytest.mark.parametrize(
    "text",
    [
        "a", "0", "-", " é ", "e\u0301", "コーヒー", "한국어", "قهوة", "\u200fקפה",
        "कॉफ़ी", "กาแฟ", "☕", "👩‍👩‍👧", "❤️", "🇩🇪", "€",
    ],
)  # fmt: skip
def test_text_with_a_visible_character(text):
    assert is_visible(text)
