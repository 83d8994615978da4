"""The whole system as one small immutable state.

A process has no state between two pieces of work. What it knows while it works is a thread: one request to the Edge
API, or one entry that an orchestrator has claimed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.model.books import Books
from tests.model.design import Responses
from tests.model.ledger import Entry
from tests.model.network import Request
from tests.model.refunds import Refund, Wanted

EDGE, SAGA, REFUND = "edge", "saga", "refund"
CLAIMANTS = 2
"""How many threads of each kind may work at the same moment."""


class Client(NamedTuple):
    """One client with one key."""

    id: str
    """The id that its ledger entry gets."""
    card: str
    requests: int
    """How many times it may still send its request."""
    told: int = 0
    """The status of the final response that it has got, 0 before there is one."""
    cancels: int = 0
    """How many times it may still ask for the cancellation of its order."""
    cancelled_at: str = ""
    """The status of the order when the wish was written down."""
    told_of_cancel: tuple[int, ...] = ()
    """The statuses of the responses that it has got to these requests."""


class Thread(NamedTuple):
    """A piece of work, and all that its process knows about it."""

    kind: str
    order: int
    """The position of its order, or of its refund."""
    seen: Any
    """The entry, or the refund, as this thread has claimed or saved it."""
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
    wanted: tuple[Wanted, ...] = ()
    refunds: tuple[Refund | None, ...] = ()
    """The refund for each that is wanted, None before it is accepted."""


def begin(
    cards: tuple[str, ...], *, stock: int, requests: int, faults: int, cancels: int = 0, wanted: tuple[Wanted, ...] = ()
) -> World:
    """A world in which nothing has happened yet."""
    clients = tuple(
        Client(f"00000000-0000-7000-8000-{number:012}", card, requests, cancels=cancels)
        for number, card in enumerate(cards, 1)
    )
    entries, refunds = (None,) * len(clients), (None,) * len(wanted)
    return World(clients, entries, Books(stock, stock), faults=faults, wanted=wanted, refunds=refunds)


def rows(world: World, kind: str) -> tuple[Any, ...]:
    """The rows that this kind of thread works on."""
    return world.refunds if kind == REFUND else world.entries


def with_row(world: World, kind: str, number: int, row: Any) -> World:
    was = rows(world, kind)
    now = (*was[:number], row, *was[number + 1 :])
    return world._replace(refunds=now) if kind == REFUND else world._replace(entries=now)


def canonical(world: World) -> World:
    """Number the claims of each order and refund without gaps.

    Claim numbers are compared with each other, and nothing else is done with them. So worlds that differ only in
    numbers of claims whose holders are gone behave alike.
    """
    for kind in (SAGA, REFUND):
        for order, row in enumerate(rows(world, kind)):
            if row is None or row.claim_number <= 1:
                continue
            numbers = {row.claim_number, *(each.seen.claim_number for each in threads_of(world, kind, order))}
            if max(numbers) > len(numbers):
                world = _renumbered(world, kind, order, {number: new for new, number in enumerate(sorted(numbers), 1)})
    return world


def threads_of(world: World, kind: str, order: int) -> list[Thread]:
    """The threads that work on a row. Those of the Edge API and of sagas work on the same rows."""
    return [each for each in world.threads if each.order == order and (each.kind == REFUND) == (kind == REFUND)]


def _renumbered(world: World, kind: str, order: int, new: dict[int, int]) -> World:
    mine = threads_of(world, kind, order)
    threads = tuple(
        thread._replace(seen=thread.seen._replace(claim_number=new[thread.seen.claim_number]))
        if thread in mine
        else thread
        for thread in world.threads
    )
    row = rows(world, kind)[order]
    return with_row(world, kind, order, row._replace(claim_number=new[row.claim_number]))._replace(threads=threads)


def is_end(world: World) -> bool:
    """Whether every order and every refund that was begun has ended, and nobody works on one."""
    begun = (row for row in (*world.entries, *world.refunds) if row)
    return not world.threads and all(row.status.is_terminal for row in begun)


def is_free(world: World, kind: str) -> bool:
    """Whether one more thread of this kind may work."""
    return sum(thread.kind == kind for thread in world.threads) < CLAIMANTS


def with_client(world: World, order: int, client: Client) -> World:
    return world._replace(clients=(*world.clients[:order], client, *world.clients[order + 1 :]))


def without_thread(world: World, thread: Thread) -> World:
    position = world.threads.index(thread)
    return world._replace(threads=world.threads[:position] + world.threads[position + 1 :])


def with_thread(world: World, thread: Thread, instead_of: Thread | None = None) -> World:
    """Add a thread. Processes are interchangeable, so the sequence of threads is that of their claims."""
    others = [other for other in world.threads if other is not instead_of]
    return world._replace(threads=tuple(sorted((*others, thread), key=_claim_of)))


def _claim_of(thread: Thread) -> tuple[bool, int, int, str]:
    return thread.kind == REFUND, thread.order, thread.seen.claim_number, thread.kind
