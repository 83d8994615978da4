"""The whole system as one small immutable state, and every step that may happen in it.

A process has no state between two pieces of work. What it knows while it works is a thread: one request to the Edge
API, or one entry that an orchestrator has claimed. A step is one commit, one call, or one fault. What a process does
between two of them touches nothing that others see.

To model something new, such as a cancel by the client, write one more function that yields steps, and add it to
`ACTIONS`. A new kind of saga is one more entry of `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.model import ledger
from tests.model.design import Design, Responses, Write
from tests.model.explore import Step
from tests.model.ledger import Entry
from tests.model.network import ANSWERED, FATES, Fate, Request, Response, with_late
from tests.model.participants import Books

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


class What(NamedTuple):
    """What a step was, for its story."""

    action: str
    order: int = 0
    thread: Thread | None = None
    request: Request | None = None
    response: Response | None = None
    fate: Fate = ANSWERED
    write: Write | None = None
    before: Entry | None = None
    after: Entry | None = None


KINDS: dict[str, Callable[[Design, Entry, str, Responses], Request | Write]] = {
    EDGE: Design.next_of_edge,
    SAGA: Design.next_of_saga,
}


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
    return _with_entry(world, order, renumbered)._replace(threads=threads)


def is_end(world: World) -> bool:
    """Whether every order that was begun has ended, and nobody works on one."""
    return not world.threads and all(entry is None or entry.status.is_terminal for entry in world.entries)


def client_sends(design: Design, world: World) -> Iterator[Step]:
    """A client sends its request, for the first time or again. The Edge API takes it up with one commit."""
    for order, (client, entry) in enumerate(zip(world.clients, world.entries, strict=True)):
        if not client.requests:
            continue
        sent = _with_client(world, order, client._replace(requests=client.requests - 1))
        if entry is None and not any(thread.order == order for thread in world.threads):
            new = design.insert(client.id)
            after = _with_thread(_with_entry(sent, order, new), Thread(EDGE, order, Entry(client.id)))
            yield Step(What("begins", order, after=new), after)
        elif entry and entry.response:
            told = _with_client(sent, order, sent.clients[order]._replace(told=entry.response))
            yield Step(What("replays", order, after=entry), told)
        elif entry and (closed := design.answer_abandoned(entry, design.abandoned(entry))):
            told = _with_client(sent, order, sent.clients[order]._replace(told=closed.response))
            yield Step(What("answers abandoned", order, after=closed), _with_entry(told, order, closed))
        elif entry and _is_free(world, EDGE) and (taken := design.take_over(entry)):
            thread = Thread(EDGE, order, taken)
            yield Step(What("takes over", order, thread), _with_thread(_with_entry(sent, order, taken), thread))


def orchestrator_claims(design: Design, world: World) -> Iterator[Step]:
    """An orchestrator claims an entry that is due."""
    if not _is_free(world, SAGA):
        return
    for order, entry in enumerate(world.entries):
        if entry and (claimed := design.claim(entry)):
            thread = Thread(SAGA, order, claimed)
            after = _with_thread(_with_entry(world, order, claimed), thread)
            yield Step(What("claims", order, thread, before=entry), after)


def thread_goes_on(design: Design, world: World) -> Iterator[Step]:
    """A thread makes its next call, or saves what its answer means. Or its process dies first."""
    for thread in world.threads:
        todo = KINDS[thread.kind](design, thread.seen, world.clients[thread.order].card, thread.responses)
        if isinstance(todo, Write):
            yield _write(design, world, thread, todo)
        else:
            yield from _call(design, world, thread, todo)
        if world.faults:
            yield _crash(world, thread, todo)


def _call(design: Design, world: World, thread: Thread, request: Request) -> Iterator[Step]:
    books, response = design.handled(world.books, request)
    for fate in FATES if world.faults else (ANSWERED,):
        heard = response if fate.is_answered else None
        after = _with_thread(world, thread._replace(responses=(*thread.responses, heard)), instead_of=thread)
        after = after._replace(
            books=books if fate.arrives else world.books,
            late=with_late(world.late, request) if fate.may_arrive_later else world.late,
            faults=world.faults - (fate is not ANSWERED),
        )
        if design.responds_before_commit and thread.kind == EDGE and heard and heard.status == 200:
            after = _with_client(after, thread.order, after.clients[thread.order]._replace(told=202))
        what = What("calls", thread.order, thread, request, response, fate)
        yield Step(what, after, is_fault=fate is not ANSWERED)


def _write(design: Design, world: World, thread: Thread, write: Write) -> Step:
    entry = world.entries[thread.order]
    written: Entry | None = getattr(design, write.statement)(entry, thread.seen, *write.arguments)
    what = What("writes", thread.order, thread, write=write, before=entry, after=written)
    after = _without_thread(world, thread)
    if written is None:
        return Step(what, after)  # the claim is lost
    after = _with_entry(after, thread.order, written)
    if thread.kind == EDGE and write.statement != "let_go":
        after = _with_client(after, thread.order, after.clients[thread.order]._replace(told=write.arguments[-1]))
    if thread.kind == SAGA:
        seen = ledger.with_outcome(thread.seen, *write.arguments)
        if seen.is_leased:
            after = _with_thread(after, Thread(SAGA, thread.order, seen))
    return Step(what, after)


def _crash(world: World, thread: Thread, todo: Request | Write) -> Step:
    """The process dies. A request that it was about to send is on its way. It may never arrive, so this covers both."""
    request = todo if isinstance(todo, Request) else None
    late = with_late(world.late, request) if request else world.late
    after = _without_thread(world, thread)._replace(late=late, faults=world.faults - 1)
    return Step(What("crashes", thread.order, thread, request), after, is_fault=True)


def lease_ends(design: Design, world: World) -> Iterator[Step]:
    """A lease runs out. This is a fault if its holder lives: the process was paused for longer than the lease."""
    for order, entry in enumerate(world.entries):
        ended = entry and design.lease_ends(entry)
        if entry is None or ended is None:
            continue
        is_pause = any(
            (thread.order, thread.seen.claim_number) == (order, entry.claim_number) for thread in world.threads
        )
        if world.faults or not is_pause:
            after = _with_entry(world, order, ended)._replace(faults=world.faults - is_pause)
            yield Step(What("lease ends", order, before=entry), after, is_fault=is_pause)


def late_request_arrives(design: Design, world: World) -> Iterator[Step]:
    """A late request, or a copy, reaches its participant. Nobody reads the response."""
    for request in dict.fromkeys(world.late):
        books, response = design.handled(world.books, request)
        late = list(world.late)
        late.remove(request)
        yield Step(What("arrives", request=request, response=response), world._replace(books=books, late=tuple(late)))


ACTIONS = (client_sends, orchestrator_claims, thread_goes_on, lease_ends, late_request_arrives)


def steps(design: Design, world: World) -> Iterator[Step]:
    """Every step that may happen next."""
    for action in ACTIONS:
        yield from action(design, world)


def _is_free(world: World, kind: str) -> bool:
    return sum(thread.kind == kind for thread in world.threads) < CLAIMANTS


def _with_client(world: World, order: int, client: Client) -> World:
    return world._replace(clients=(*world.clients[:order], client, *world.clients[order + 1 :]))


def _with_entry(world: World, order: int, entry: Entry | None) -> World:
    return world._replace(entries=(*world.entries[:order], entry, *world.entries[order + 1 :]))


def _without_thread(world: World, thread: Thread) -> World:
    position = world.threads.index(thread)
    return world._replace(threads=world.threads[:position] + world.threads[position + 1 :])


def _with_thread(world: World, thread: Thread, instead_of: Thread | None = None) -> World:
    """Add a thread. Processes are interchangeable, so the sequence of threads is that of their claims."""
    others = [other for other in world.threads if other is not instead_of]
    return world._replace(threads=tuple(sorted((*others, thread), key=_claim_of)))


def _claim_of(thread: Thread) -> tuple[int, int, str]:
    return thread.order, thread.seen.claim_number, thread.kind
