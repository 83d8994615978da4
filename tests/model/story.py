"""Tells a violation as a story: the shortest one, in plain English."""

from __future__ import annotations

import json

from domain.ids import order_id_for
from domain.states import Status, authorize_key
from tests.model.books import find
from tests.model.explore import Violation
from tests.model.ledger import Entry, Outcome
from tests.model.network import Request, Response
from tests.model.refunds import Refund, RefundOutcome, Wanted
from tests.model.state import EDGE, REFUND, Thread, World
from tests.model.world import What

CALLS = {
    "authorize": "hold the money",
    "capture": "capture the payment",
    "void": "void the hold",
    "refund": "refund the payment",
    "confirm": "confirm the order",
    "cancel": "cancel the order",
    "POST orders": "create the order",
    "stock": "put the pieces back into stock",
    "POST inventory": "reserve the stock",
    "DELETE inventory": "release the stock",
}


def tell(violation: Violation[World]) -> str:
    """The steps that lead to a violation, the rule that it breaks, and the books at that moment."""
    lines = [f"{number:3}. {sentence(step.what)}" for number, step in enumerate(violation.path, 1)]
    end = violation.path[-1].state if violation.path else violation.begin
    return "\n".join([*lines, f"  ⇒  {violation.reason}", *(f"     {line}" for line in _books(end))])


def sentence(what: What) -> str:
    """One step in words."""
    return _TELLERS[what.action](what)


def _begins(what: What) -> str:
    kept = "commits its entry, with claim 1" if what.after else "writes nothing yet"
    return f"{_client(what)} sends the order. The Edge API {kept}."


def _replays(what: What) -> str:
    return f"{_client(what)} sends the request again and gets the stored {what.after.response if what.after else ''}."


def _answers_abandoned(what: What) -> str:
    return f"{_client(what)} sends the request again and is told that it was closed: 409."


def _takes_over(what: What) -> str:
    return f"{_client(what)} sends the request again. The Edge API takes the entry over, with claim {_claim(what)}."


def _claims(what: What) -> str:
    if what.before and what.before.status == Status.AWAITING_AUTHORIZATION:
        return f"Nobody came back for {_entry(what)}. An orchestrator claims it for closing, with claim {_claim(what)}."
    status = what.before.status if what.before else ""
    return f"An orchestrator claims {_entry(what)}, which is {status}, with claim {_claim(what)}."


def _cancels(what: What) -> str:
    asks = f"{_client(what)} asks for the cancellation of its order, which is {what.before.status}"
    return f"{asks}. {_answer(what, what.after.cancel_response)}"


def _repeats_cancel(what: What) -> str:
    answer = _answer(what, what.after.cancel_response)
    return f"{_client(what)} asks for the cancellation again, with the same key. {answer}"


def _wants_refund(what: What) -> str:
    again = "again, with the same key, " if what.before else ""
    wanted: Wanted = what.after
    share = f"{wanted.amount} cents" if wanted.amount else f"{wanted.pieces or 'all'} pieces"
    return f"The shop asks {again}for refund {what.order + 1}: {share}. {_answer(what, wanted.told)}"


def _answer(what: What, status: int) -> str:
    return f"The answer is {status}." if what.is_heard else f"The answer, {status}, is lost."


def _settles(what: What) -> str:
    return "The gateway settles the refunds that it has left pending."


def _returns(what: What) -> str:
    return "The product that was deleted is there again."


def _calls(what: What) -> str:
    assert what.request
    assert what.response
    asks = f"{_actor(what.thread)} asks {what.request.service} to {_call(what.request)}"
    return {
        "answered": f"{asks}. The answer is {_said(what.response)}.",
        "answer lost": f"{asks}. It is handled ({_said(what.response)}), and the answer is lost.",
        "late": f"{asks}. The request is late: there is no answer, and it may still arrive.",
        "doubled": f"{asks}. The answer is {_said(what.response)}. A copy of the request may still arrive.",
    }[what.fate.name]


def _writes(what: What) -> str:
    assert what.write
    actor = _actor(what.thread)
    match what.write.statement, what.write.arguments:
        case _ if what.after is None:
            return f"{actor} wants to write its outcome. No row changes: it has lost its claim."
        case "authorized", (_, response):
            return f"{actor} commits AUTHORIZED with its event, and answers {response}."
        case "refused", (failure, response):
            return f"{actor} commits AUTHORIZATION_FAILED ({failure}), and answers {response}."
        case "let_go", ():
            return f"{actor} has no answer. It gives the entry back, and tells the client to try again."
        case _, (outcome,):
            return f"{actor} saves {_outcome(outcome)}."
    raise ValueError(what.write)


def _outcome(outcome: Outcome | RefundOutcome) -> str:
    if isinstance(outcome, RefundOutcome):
        return f"{outcome.status}{', to be tried again later' if outcome.waits else ''}"
    undone = f", undone: {', '.join(outcome.undone)}" if outcome.undone else ""
    waits = ", to be tried again later" if outcome.waits else ""
    return f"{outcome.status}{undone}{waits}"


def _crashes(what: What) -> str:
    on_its_way = f", with its request to {_call(what.request)} on its way" if what.request else ""
    return f"{_actor(what.thread)} is killed{on_its_way}."


def _lease_ends(what: What) -> str:
    return f"The lease of claim {_claim(what)} on {_entry(what)} ends."


def _arrives(what: What) -> str:
    assert what.request
    assert what.response
    request = f"The late request to {_call(what.request)} reaches {what.request.service}"
    return f"{request}, which answers {_said(what.response)}. Nobody hears it."


_TELLERS = {
    "begins": _begins,
    "replays": _replays,
    "answers abandoned": _answers_abandoned,
    "takes over": _takes_over,
    "cancels": _cancels,
    "repeats the cancel": _repeats_cancel,
    "wants a refund": _wants_refund,
    "settles": _settles,
    "returns": _returns,
    "claims": _claims,
    "calls": _calls,
    "writes": _writes,
    "crashes": _crashes,
    "lease ends": _lease_ends,
    "arrives": _arrives,
}


def _client(what: What) -> str:
    return f"Client {what.order + 1}"


def _entry(what: What) -> str:
    return _row(what.thread) if what.thread else f"entry {what.order + 1}"


def _row(thread: Thread) -> str:
    return f"{'refund' if thread.kind == REFUND else 'entry'} {thread.order + 1}"


def _claim(what: What) -> int:
    return what.thread.seen.claim_number if what.thread else 0


def _actor(thread: Thread | None) -> str:
    assert thread
    name = "The Edge API" if thread.kind == EDGE else "The orchestrator"
    return f"{name} with claim {thread.seen.claim_number} on {_row(thread)}"


def _call(request: Request) -> str:
    words = request.path.split("/")
    verb = next((word for word in words if word in CALLS), f"{request.method} {request.service}")
    return CALLS[verb]


def _said(response: Response) -> str:
    body = json.loads(response.body)
    word = body.get("error") or body.get("status") or ""
    return f"{response.status} {word}".strip()


def _books(world: World) -> list[str]:
    """The final state: one line for each place, for each order."""
    lines = [f"stock: {world.books.stock} of {world.books.received}"]
    for order, (client, entry) in enumerate(zip(world.clients, world.entries, strict=True), 1):
        order_id = order_id_for(client.id)
        created, reserved = find(world.books.orders, order_id), find(world.books.reservations, order_id)
        payments = [
            f"{payment.status} {payment.amount} (captured {payment.captured}, refunded {payment.refunded})"
            for payment in world.books.payments
            if payment.key.startswith(authorize_key(client.id))
        ]
        lines.append(
            f"entry {order}: {_state(entry)}; order: {created.status if created else 'none'}; "
            f"reservation: {reserved.status if reserved else 'none'}; payment: {', '.join(payments) or 'none'}"
        )
    lines += [f"refund {number}: {_refund(each)}" for number, each in enumerate(world.refunds, 1)]
    lines += [f"on its way: the request to {_call(request)}" for request in world.late]
    return lines


def _refund(refund: Refund | None) -> str:
    if refund is None:
        return "not written"
    return f"{refund.status}, claim {refund.claim_number}, of {refund.amount} cents and {refund.pieces} pieces"


def _state(entry: Entry | None) -> str:
    if entry is None:
        return "not written"
    undone = f", undone: {', '.join(entry.undone)}" if entry.undone else ""
    wish = ", cancel asked for" if entry.is_cancelled else ""
    return f"{entry.status}, claim {entry.claim_number}{undone}{wish}"
