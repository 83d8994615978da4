"""The header `traceparent` of W3C Trace Context (https://www.w3.org/TR/trace-context/), read strictly."""

from __future__ import annotations

import re
from typing import NamedTuple

FORM = re.compile(r"([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?")
VERSION, NO_VERSION = "00", "ff"
KNOWN_FLAGS = 0b11  # sampled, and: the trace's id is random


class TraceParent(NamedTuple):
    """The place in a trace where another span continues it."""

    trace_id: int
    span_id: int
    flags: int

    def __str__(self) -> str:
        return f"{VERSION}-{self.trace_id:032x}-{self.span_id:016x}-{self.flags & KNOWN_FLAGS:02x}"


def parse(text: str | None) -> TraceParent | None:
    """None: there is none, or it is not well formed. A later version of the form may add to its end."""
    found = FORM.fullmatch(text or "")
    if found is None or found[1] == NO_VERSION or (found[1] == VERSION and found[5] is not None):
        return None
    return TraceParent(int(found[2], 16), int(found[3], 16), int(found[4], 16) & KNOWN_FLAGS)
