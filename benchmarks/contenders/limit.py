"""The limit: the four calls of a saga from a bare loop, with nothing written down. What no engine can exceed.

`python -m benchmarks.contenders.limit usual|lean URL THREADS`; then on stdin a line with a number of sagas, answered on
stdout by `done` when they are done.
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
    """As most people use `requests`: a session for each thread, and its methods."""
    client = UsualClient(url)
    return lambda: client.saga(str(uuid.uuid4()))


def lean(url: str) -> Saga:
    """The leanest use: requests prepared once and sent again and again, with no proxies and redirects to look for."""
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
        together.wait()  # one share for each thread
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
