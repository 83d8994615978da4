"""Every step that may happen in the system: one commit, one call, or one fault.

What a process does between two of them touches nothing that others see.

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
from tests.model.state import (
    EDGE,
    SAGA,
    Thread,
    World,
    is_free,
    with_client,
    with_entry,
    with_thread,
    without_thread,
)


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


def client_sends(design: Design, world: World) -> Iterator[Step]:
    """A client sends its request, for the first time or again. The Edge API takes it up with one commit."""
    for order, (client, entry) in enumerate(zip(world.clients, world.entries, strict=True)):
        if not client.requests:
            continue
        sent = with_client(world, order, client._replace(requests=client.requests - 1))
        if entry is None and not any(thread.order == order for thread in world.threads):
            new = design.insert(client.id)
            after = with_thread(with_entry(sent, order, new), Thread(EDGE, order, Entry(client.id)))
            yield Step(What("begins", order, after=new), after)
        elif entry and entry.response:
            told = with_client(sent, order, sent.clients[order]._replace(told=entry.response))
            yield Step(What("replays", order, after=entry), told)
        elif entry and (closed := design.answer_abandoned(entry, design.abandoned(entry))):
            told = with_client(sent, order, sent.clients[order]._replace(told=closed.response))
            yield Step(What("answers abandoned", order, after=closed), with_entry(told, order, closed))
        elif entry and is_free(world, EDGE) and (taken := design.take_over(entry)):
            thread = Thread(EDGE, order, taken)
            yield Step(What("takes over", order, thread), with_thread(with_entry(sent, order, taken), thread))


def orchestrator_claims(design: Design, world: World) -> Iterator[Step]:
    """An orchestrator claims an entry that is due."""
    if not is_free(world, SAGA):
        return
    for order, entry in enumerate(world.entries):
        if entry and (claimed := design.claim(entry)):
            thread = Thread(SAGA, order, claimed)
            after = with_thread(with_entry(world, order, claimed), thread)
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
        after = with_thread(world, thread._replace(responses=(*thread.responses, heard)), instead_of=thread)
        after = after._replace(
            books=books if fate.arrives else world.books,
            late=with_late(world.late, request) if fate.may_arrive_later else world.late,
            faults=world.faults - (fate is not ANSWERED),
        )
        if design.responds_before_commit and thread.kind == EDGE and heard and heard.status == 200:
            after = with_client(after, thread.order, after.clients[thread.order]._replace(told=202))
        what = What("calls", thread.order, thread, request, response, fate)
        yield Step(what, after, is_fault=fate is not ANSWERED)


def _write(design: Design, world: World, thread: Thread, write: Write) -> Step:
    entry = world.entries[thread.order]
    written: Entry | None = getattr(design, write.statement)(entry, thread.seen, *write.arguments)
    what = What("writes", thread.order, thread, write=write, before=entry, after=written)
    after = without_thread(world, thread)
    if written is None:
        return Step(what, after)  # the claim is lost
    after = with_entry(after, thread.order, written)
    if thread.kind == EDGE and write.statement != "let_go":
        after = with_client(after, thread.order, after.clients[thread.order]._replace(told=write.arguments[-1]))
    if thread.kind == SAGA:
        # It knows what it has claimed and saved. What SAVE returns beyond that, one day a cancel, belongs here.
        seen = ledger.with_outcome(thread.seen, *write.arguments)
        if seen.is_leased:
            after = with_thread(after, Thread(SAGA, thread.order, seen))
    return Step(what, after)


def _crash(world: World, thread: Thread, todo: Request | Write) -> Step:
    """The process dies. A request that it was about to send is on its way. It may never arrive, so this covers both."""
    request = todo if isinstance(todo, Request) else None
    late = with_late(world.late, request) if request else world.late
    after = without_thread(world, thread)._replace(late=late, faults=world.faults - 1)
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
            after = with_entry(world, order, ended)._replace(faults=world.faults - is_pause)
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
