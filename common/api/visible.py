"""Tells whether any of a text is visible to a person."""

from __future__ import annotations

import unicodedata

# Letters and symbols that are drawn as blanks: the fillers of Hangul and the empty Braille cell.
BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
DRAWN = "LNPS"  # the categories of letters, numbers, punctuation and symbols, emoji among them


def is_visible(text: str) -> bool:
    """False for text of only spaces and control, format (zero-width, bidi), unassigned or combining characters."""
    return any(char not in BLANKS and unicodedata.category(char)[0] in DRAWN for char in text)
