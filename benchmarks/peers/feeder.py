"""The side of a peer that submits sagas with the peer's own client, while the peer is measured."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Sequence


def feed(put: Callable[[Sequence[str]], None]) -> None:
    """For each number on stdin, submit this many new sagas at once, then print `put`."""
    print("ready", flush=True)
    for line in sys.stdin:
        put([str(uuid.uuid4()) for _ in range(int(line))])
        print("put", flush=True)
