"""Whether a person can see anything of a text."""

from __future__ import annotations

import unicodedata

# Letters and symbols by their category that are drawn as nothing: fillers of Hangul, and the empty Braille cell.
BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
DRAWN = "LNPS"  # the categories of letters, numbers, punctuation and symbols, emoji among them


def is_visible(text: str) -> bool:
    """False for text of nothing but spaces, control, format (zero-width, bidi), unassigned or combining characters."""
    return any(char not in BLANKS and unicodedata.category(char)[0] in DRAWN for char in text)
