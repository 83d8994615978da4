"""The upper limit of any engine: the four calls of a saga in a bare loop that stores nothing.

`python -m benchmarks.contenders.limit usual|lean URL THREADS` reads numbers of sagas from stdin, one per
line, and prints `done` after each.
"""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.contenders.calls import LeanClient, UsualClient

Saga = Callable[[], None]


def usual(url: str) -> Saga:
    """The usual use of `requests`: a session for each thread, and its methods."""
    client = UsualClient(url)
    return lambda: client.saga(str(uuid.uuid4()))


def lean(url: str) -> Saga:
    """The leanest use: requests prepared once and sent repeatedly, without proxies and redirects."""
    client = LeanClient(url)

    def saga() -> None:
        for number in range(4):
            client.send(number)

    return saga


KINDS = {"usual": usual, "lean": lean}


def main(kind: str, url: str, threads: int) -> None:
    local, together = threading.local(), threading.Barrier(threads)

    def share(sagas: int) -> None:
        if not hasattr(local, "saga"):
            local.saga = KINDS[kind](url)
        together.wait()  # the share of each thread
        for _ in range(sagas):
            local.saga()

    with ThreadPoolExecutor(threads) as pool:
        print("ready", flush=True)
        for line in sys.stdin:
            shares = [int(line) // threads + (number < int(line) % threads) for number in range(threads)]
            list(pool.map(share, shares))
            print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
