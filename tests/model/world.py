"""Every step that may happen in the system: one commit, one call, or one fault.

What a process does between two of them touches nothing that others see.

To model something new, write one more function that yields steps, and add it to `ACTIONS`. A new kind of saga is one
more entry of `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.model import ledger, payments, refunds
from tests.model.design import Design, Responses, Write
from tests.model.explore import Step
from tests.model.ledger import Entry
from tests.model.network import ANSWERED, FATES, Fate, Request, Response, with_late
from tests.model.refunds import Both, RefundOutcome
from tests.model.state import (
    EDGE,
    REFUND,
    SAGA,
    Client,
    Thread,
    World,
    is_free,
    rows,
    threads_of,
    with_client,
    with_row,
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
    before: Any = None
    """The row before the step."""
    after: Any = None
    is_heard: bool = True
    """Whether the client gets the response."""


KINDS: dict[str, Callable[[Design, Any, str, Responses], Request | Write]] = {
    EDGE: Design.next_of_edge,
    SAGA: Design.next_of_saga,
    REFUND: Design.next_of_refund,
}


def client_sends(design: Design, world: World) -> Iterator[Step]:
    """A client sends its request, for the first time or again. The Edge API takes it up with one commit."""
    for order, (client, entry) in enumerate(zip(world.clients, world.entries, strict=True)):
        if not client.requests:
            continue
        sent = with_client(world, order, client._replace(requests=client.requests - 1))
        if entry is None and not any(thread.order == order for thread in world.threads):
            new = design.insert(client.id)
            after = with_thread(with_row(sent, EDGE, order, new), Thread(EDGE, order, Entry(client.id)))
            yield Step(What("begins", order, after=new), after)
        elif entry and entry.response:
            told = with_client(sent, order, sent.clients[order]._replace(told=entry.response))
            yield Step(What("replays", order, after=entry), told)
        elif entry and (closed := design.answer_abandoned(entry, design.abandoned(entry))):
            told = with_client(sent, order, sent.clients[order]._replace(told=closed.response))
            yield Step(What("answers abandoned", order, after=closed), with_row(told, EDGE, order, closed))
        elif entry and is_free(world, EDGE) and (taken := design.take_over(entry)):
            thread = Thread(EDGE, order, taken)
            yield Step(What("takes over", order, thread), with_thread(with_row(sent, EDGE, order, taken), thread))


def client_cancels(design: Design, world: World) -> Iterator[Step]:
    """A client asks for the cancellation of its order: with a new key, or again with the latest one."""
    for order, (client, entry) in enumerate(zip(world.clients, world.entries, strict=True)):
        if not client.cancels or entry is None:
            continue
        left = client._replace(cancels=client.cancels - 1)
        if entry.cancel_response:
            yield from _told_of_cancel(world, order, left, entry, "repeats the cancel")
        written = design.cancel(entry)
        now = (written or entry)._replace(cancel_response=202 if written else 409)
        if written and not client.cancelled_at:
            left = left._replace(cancelled_at=entry.status)
        yield from _told_of_cancel(world, order, left, now, "cancels")


def _told_of_cancel(world: World, order: int, client: Client, entry: Entry, action: str) -> Iterator[Step]:
    """The response arrives, or is lost."""
    world = with_row(world, SAGA, order, entry)
    told = tuple(sorted({*client.told_of_cancel, entry.cancel_response}))
    what = What(action, order, before=world.entries[order], after=entry)
    yield Step(what, with_client(world, order, client._replace(told_of_cancel=told)))
    if world.faults:
        after = with_client(world, order, client)._replace(faults=world.faults - 1)
        yield Step(what._replace(is_heard=False), after, is_fault=True)


def client_wants_refund(design: Design, world: World) -> Iterator[Step]:
    """A client asks for a refund, for the first time or again with the same key."""
    for number, (wanted, refund) in enumerate(zip(world.wanted, world.refunds, strict=True)):
        entry = world.entries[wanted.order]
        if not wanted.sends or entry is None:
            continue
        found = 202 if refund else design.wanted(entry, wanted, number)
        after, response = world, 202
        if isinstance(found, Both):
            after = with_row(with_row(world, SAGA, wanted.order, found.entry), REFUND, number, found.refund)
        else:
            response = found
        sent = wanted._replace(sends=wanted.sends - 1)
        what = What("wants a refund", number, before=refund, after=wanted._replace(told=response))
        told = sent._replace(told=response)
        yield Step(what, after._replace(wanted=(*world.wanted[:number], told, *world.wanted[number + 1 :])))
        if world.faults:
            lost = (*world.wanted[:number], sent, *world.wanted[number + 1 :])
            yield Step(
                what._replace(is_heard=False), after._replace(wanted=lost, faults=world.faults - 1), is_fault=True
            )


def orchestrator_claims(design: Design, world: World) -> Iterator[Step]:
    """An orchestrator claims an order, or a refund, that is due."""
    for kind, claim in ((SAGA, design.claim), (REFUND, design.claim_refund)):
        if not is_free(world, kind):
            continue
        for order, row in enumerate(rows(world, kind)):
            if row and (claimed := claim(row)):
                seen = ledger.as_claimed(claimed) if isinstance(claimed, Entry) else claimed
                thread = Thread(kind, order, seen)
                after = with_thread(with_row(world, kind, order, claimed), thread)
                yield Step(What("claims", order, thread, before=row), after)


def thread_goes_on(design: Design, world: World) -> Iterator[Step]:
    """A thread makes its next call, or saves what its answer means. Or its process dies first."""
    for thread in world.threads:
        card = world.clients[thread.order].card if thread.kind == EDGE else ""
        todo = KINDS[thread.kind](design, thread.seen, card, thread.responses)
        if isinstance(todo, Write):
            yield (_write_refund if thread.kind == REFUND else _write)(design, world, thread, todo)
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
    after = with_row(after, SAGA, thread.order, written)
    if thread.kind == EDGE and write.statement != "let_go":
        after = with_client(after, thread.order, after.clients[thread.order]._replace(told=write.arguments[-1]))
    if thread.kind == SAGA:
        # It knows what it has claimed and saved, and what SAVE has returned beyond that.
        seen = design.as_saved(ledger.with_outcome(thread.seen, *write.arguments), written)
        if seen.is_leased:
            after = with_thread(after, Thread(SAGA, thread.order, seen))
    return Step(what, after)


def _write_refund(design: Design, world: World, thread: Thread, write: Write) -> Step:
    refund = world.refunds[thread.order]
    assert refund
    entry = world.entries[refund.order]
    assert entry
    outcome: RefundOutcome = write.arguments[0]
    written = design.save_refund(Both(entry, refund), thread.seen, outcome)
    what = What("writes", thread.order, thread, write=write, before=refund, after=written and written.refund)
    after = without_thread(world, thread)
    if written is None:
        return Step(what, after)  # the claim is lost
    after = with_row(with_row(after, REFUND, thread.order, written.refund), SAGA, refund.order, written.entry)
    seen = refunds.with_outcome(thread.seen, outcome)
    return Step(what, with_thread(after, Thread(REFUND, thread.order, seen)) if seen.is_leased else after)


def _crash(world: World, thread: Thread, todo: Request | Write) -> Step:
    """The process dies. A request that it was about to send is on its way. It may never arrive, so this covers both."""
    request = todo if isinstance(todo, Request) else None
    late = with_late(world.late, request) if request else world.late
    after = without_thread(world, thread)._replace(late=late, faults=world.faults - 1)
    return Step(What("crashes", thread.order, thread, request), after, is_fault=True)


def lease_ends(design: Design, world: World) -> Iterator[Step]:
    """A lease runs out. This is a fault if its holder lives: the process was paused for longer than the lease."""
    for kind, ends in ((SAGA, design.lease_ends), (REFUND, design.refund_lease_ends)):
        for order, row in enumerate(rows(world, kind)):
            ended = row and ends(row)
            if ended is None:
                continue
            is_pause = any(each.seen.claim_number == row.claim_number for each in threads_of(world, kind, order))
            if world.faults or not is_pause:
                after = with_row(world, kind, order, ended)._replace(faults=world.faults - is_pause)
                what = What("lease ends", order, Thread(kind, order, row), before=row)
                yield Step(what, after, is_fault=is_pause)


def late_request_arrives(design: Design, world: World) -> Iterator[Step]:
    """A late request, or a copy, reaches its participant. Nobody reads the response."""
    for request in dict.fromkeys(world.late):
        books, response = design.handled(world.books, request)
        late = list(world.late)
        late.remove(request)
        yield Step(What("arrives", request=request, response=response), world._replace(books=books, late=tuple(late)))


def gateway_settles(design: Design, world: World) -> Iterator[Step]:
    """The gateway settles the refunds that it has left pending."""
    settled = payments.settle(world.books)
    if settled != world.books:
        yield Step(What("settles"), world._replace(books=settled))


def product_returns(design: Design, world: World) -> Iterator[Step]:
    """Somebody creates the product again that was deleted."""
    if world.books.is_gone:
        yield Step(What("returns"), world._replace(books=world.books._replace(is_gone=False)))


ACTIONS = (
    client_sends,
    client_cancels,
    client_wants_refund,
    orchestrator_claims,
    thread_goes_on,
    lease_ends,
    late_request_arrives,
    gateway_settles,
    product_returns,
)


def steps(design: Design, world: World) -> Iterator[Step]:
    """Every step that may happen next."""
    for action in ACTIONS:
        yield from action(design, world)
