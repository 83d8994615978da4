"""The whole system as one small immutable state.

A process has no state between two pieces of work. What it knows while it works is a thread: one request to the Edge
API, or one entry that an orchestrator has claimed.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.model.books import Books
from tests.model.design import Responses
from tests.model.ledger import Entry
from tests.model.network import Request

EDGE, SAGA = "edge", "saga"
CLAIMANTS = 2
"""How many entries orchestrators may work on at the same moment, and how many requests the Edge API."""


class Client(NamedTuple):
    """One client with one key."""

    id: str
    """The id that its ledger entry gets."""
    card: str
    requests: int
    """How many times it may still send its request."""
    told: int = 0
    """The status of the final response that it has got, 0 before there is one."""


class Thread(NamedTuple):
    """A piece of work, and all that its process knows about it."""

    kind: str
    order: int
    seen: Entry
    """The entry as this thread has claimed or saved it."""
    responses: Responses = ()
    """The responses of the action in flight, in order. None: a call got no response."""


class World(NamedTuple):
    clients: tuple[Client, ...]
    entries: tuple[Entry | None, ...]
    """The entry of each client, None before T1."""
    books: Books
    threads: tuple[Thread, ...] = ()
    late: tuple[Request, ...] = ()
    """Requests on their way whose caller no longer waits."""
    faults: int = 0
    """How many faults may still happen."""


def begin(cards: tuple[str, ...], *, stock: int, requests: int, faults: int) -> World:
    """A world in which nothing has happened yet."""
    clients = tuple(
        Client(f"00000000-0000-7000-8000-{number:012}", card, requests) for number, card in enumerate(cards, 1)
    )
    return World(clients, (None,) * len(clients), Books(stock, stock), faults=faults)


def canonical(world: World) -> World:
    """Number the claims of each order without gaps.

    Claim numbers are compared with each other, and nothing else is done with them. So worlds that differ only in
    numbers of claims whose holders are gone behave alike.
    """
    for order, entry in enumerate(world.entries):
        if entry is None:
            continue
        numbers = {entry.claim_number, *(each.seen.claim_number for each in world.threads if each.order == order)}
        if max(numbers) > len(numbers):
            world = _renumbered(world, order, entry, {number: new for new, number in enumerate(sorted(numbers), 1)})
    return world


def _renumbered(world: World, order: int, entry: Entry, new: dict[int, int]) -> World:
    threads = tuple(
        thread._replace(seen=thread.seen._replace(claim_number=new[thread.seen.claim_number]))
        if thread.order == order
        else thread
        for thread in world.threads
    )
    renumbered = entry._replace(claim_number=new[entry.claim_number])
    return with_entry(world, order, renumbered)._replace(threads=threads)


def is_end(world: World) -> bool:
    """Whether every order that was begun has ended, and nobody works on one."""
    return not world.threads and all(entry is None or entry.status.is_terminal for entry in world.entries)


def is_free(world: World, kind: str) -> bool:
    """Whether one more thread of this kind may work."""
    return sum(thread.kind == kind for thread in world.threads) < CLAIMANTS


def with_client(world: World, order: int, client: Client) -> World:
    return world._replace(clients=(*world.clients[:order], client, *world.clients[order + 1 :]))


def with_entry(world: World, order: int, entry: Entry | None) -> World:
    return world._replace(entries=(*world.entries[:order], entry, *world.entries[order + 1 :]))


def without_thread(world: World, thread: Thread) -> World:
    position = world.threads.index(thread)
    return world._replace(threads=world.threads[:position] + world.threads[position + 1 :])


def with_thread(world: World, thread: Thread, instead_of: Thread | None = None) -> World:
    """Add a thread. Processes are interchangeable, so the sequence of threads is that of their claims."""
    others = [other for other in world.threads if other is not instead_of]
    return world._replace(threads=tuple(sorted((*others, thread), key=_claim_of)))


def _claim_of(thread: Thread) -> tuple[int, int, str]:
    return thread.order, thread.seen.claim_number, thread.kind
