"""The side of a peer that hands in sagas with the peer's own client, for as long as that peer is measured."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Sequence


def feed(put: Callable[[Sequence[str]], None]) -> None:
    """For each number on stdin, hand in so many new sagas at once, then print `put`."""
    print("ready", flush=True)
    for line in sys.stdin:
        put([str(uuid.uuid4()) for _ in range(int(line))])
        print("put", flush=True)
