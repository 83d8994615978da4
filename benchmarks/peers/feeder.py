"""The side of a peer that hands in sagas, by the peer's own means; it lives as long as the benchmark of that peer."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Sequence


def feed(put: Callable[[Sequence[str]], None]) -> None:
    """For each line with a number on stdin: hand in so many new sagas, all at once, and say `put` when it is done."""
    print("ready", flush=True)
    for line in sys.stdin:
        put([str(uuid.uuid4()) for _ in range(int(line))])
        print("put", flush=True)
