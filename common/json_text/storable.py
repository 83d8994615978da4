"""Makes foreign text fit to be stored and shown."""

from __future__ import annotations

import re

MAX_LENGTH = 500  # characters: enough for several sentences, but not for a page of HTML
# Control characters (PostgreSQL refuses NUL), line separators, and halves of surrogate pairs, which are not UTF-8.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def storable(text: str, max_length: int = MAX_LENGTH) -> str:
    """The text on one line, each run of unfit characters replaced by a space, and not longer than `max_length`."""
    line = _UNFIT.sub(" ", text).strip()
    return line if len(line) <= max_length else line[: max_length - 1] + "…"
