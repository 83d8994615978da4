"""The protocol as the model runs it: the real decisions of this repository, and the models of what they act on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from common.api.errors import ApiError
from common.api.idempotency import StoredResponse
from common.calls.client import Answer, ServiceClient
from edge_api import refunds as edge_refunds
from edge_api.outcome import Authorization, abandoned, finish
from edge_api.services import Services
from orchestrator import refund_entries
from orchestrator.entries import entry_of, saga_of
from orchestrator.participants import Participants
from orchestrator.saga import Saga, after, turned_back
from tests.model import ledger, participants, refunds
from tests.model.books import Books, Handled, Handler
from tests.model.ledger import POLICY, Entry, Outcome, row_of
from tests.model.network import Asked, Request, Response, Script
from tests.model.refunds import Both, Refund, RefundOutcome, Wanted

T = TypeVar("T")
Responses = tuple[Response | None, ...]


class Write(NamedTuple):
    """A statement of the ledger, by its name in `Design`, and its arguments."""

    statement: str
    arguments: tuple[Any, ...] = ()


def authorize(services: Services, row: dict[str, Any], card: str) -> Answer:
    return services.authorize(row, card)


@dataclass(frozen=True, eq=False)
class Design:
    """Each decision of the protocol. A planted error replaces one of them."""

    # The orchestrator
    saga_of: Callable[[dict[str, Any]], Any] = saga_of
    calls: Callable[..., Participants] = Participants
    after: Callable[..., Saga] = after
    refund_of: Callable[[dict[str, Any]], Any] = refund_entries.refund_of
    turned_back: Callable[[Any], Any] = turned_back
    # The Edge API
    authorize: Callable[[Services, dict[str, Any], str], Answer] = authorize
    finish: Callable[..., StoredResponse] = finish
    responds_before_commit: bool = False
    share_of: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]] = edge_refunds.share_of
    # The ledger
    insert: Callable[[str], Entry | None] = ledger.insert
    take_over: Callable[[Entry], Entry | None] = ledger.take_over
    let_go: Callable[..., Entry | None] = ledger.let_go
    authorized: Callable[..., Entry | None] = ledger.authorized
    refused: Callable[..., Entry | None] = ledger.refused
    answer_abandoned: Callable[..., Entry | None] = ledger.answer_abandoned
    claim: Callable[[Entry], Entry | None] = ledger.claim
    only_compares_claims: bool = True
    """Nothing depends on the value of a claim number."""
    save: Callable[..., Entry | None] = ledger.save
    as_saved: Callable[[Entry, Entry], Entry] = ledger.as_saved
    lease_ends: Callable[[Entry], Entry | None] = ledger.lease_ends
    cancel: Callable[[Entry], Entry | None] = ledger.cancel
    insert_refund: Callable[[Entry, Refund], Both | None] = refunds.insert
    claim_refund: Callable[[Refund], Refund | None] = refunds.claim
    save_refund: Callable[..., Both | None] = refunds.save
    refund_lease_ends: Callable[[Refund], Refund | None] = refunds.lease_ends
    # The participants
    handle: Handler = participants.handle

    _known: dict[Any, Any] = field(default_factory=dict, repr=False)

    def handled(self, books: Books, request: Request) -> Handled:
        """The books after a request, and its response."""
        return self._once(self.handle, books, request)

    def next_of_saga(self, seen: Entry, card: str, responses: Responses) -> Request | Write:
        """What an orchestrator does next with the entry it has claimed, after these responses to its action."""
        return self._once(self._next_of_saga, seen, responses)

    def next_of_edge(self, seen: Entry, card: str, responses: Responses) -> Request | Write:
        """What a request to the Edge API does next with the entry it has claimed."""
        return self._once(self._next_of_edge, seen, card, responses)

    def next_of_refund(self, seen: Refund, card: str, responses: Responses) -> Request | Write:
        """What an orchestrator does next with the refund it has claimed."""
        return self._once(self._next_of_refund, seen, responses)

    def wanted(self, entry: Entry, wanted: Wanted, number: int) -> Both | int:
        """The refund that a request is accepted with, or the status of the response to it."""
        return self._once(self._wanted, entry, wanted._replace(sends=0, told=0), number)

    def abandoned(self, entry: Entry) -> int:
        """The status of the response to a request that the sweeper has closed."""
        return abandoned(row_of(entry)).status

    def _next_of_saga(self, seen: Entry, responses: Responses) -> Request | Write:
        saga = self.saga_of(row_of(seen))
        try:
            now = self.turned_back(saga) if saga.must_turn_back else self._asked(saga, responses)
        except Asked as asked:
            return asked.request
        return Write("save", (Outcome.of(entry_of(saga, now)),))

    def _next_of_refund(self, seen: Refund, responses: Responses) -> Request | Write:
        saga = self.refund_of(refunds.row_of(seen))
        try:
            now = self._asked(saga, responses)
        except Asked as asked:
            return asked.request
        return Write("save_refund", (RefundOutcome.of(refund_entries.row_of(saga, now)),))

    def _asked(self, saga: Any, responses: Responses) -> Any:
        left = list(responses)
        callers = (_Caller(Script(name, left)) for name in ("orders", "inventory", "payments"))
        return self.after(saga, self.calls(*callers).ask(saga), POLICY)

    def _wanted(self, entry: Entry, wanted: Wanted, number: int) -> Both | int:
        try:
            share = self.share_of(refunds.order_row(entry), wanted.body)
        except ApiError as refusal:
            return refusal.status
        pieces = sum(item["quantity"] for item in share["items"])
        id_, order = refunds.refund_id(number), wanted.order
        refund = Refund(id_, order, share["amount_cents"], pieces, share["restock"], entry.payment)
        return self.insert_refund(entry, refund) or 500

    def _next_of_edge(self, seen: Entry, card: str, responses: Responses) -> Request | Write:
        row = row_of(seen)
        payments: Any = Script("payments", list(responses))
        try:
            answer = self.authorize(Services(inventory=payments, payments=payments), row, card)
        except Asked as asked:
            return asked.request
        notes: Any = _Notes()
        with suppress(ApiError):  # the client is told to try again
            self.finish(notes, Authorization(row, answer))
        write: Write = notes.write
        return write

    def _once(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function that always returns the same for the same arguments."""
        key = (function, *arguments)
        if key not in self._known:
            self._known[key] = function(*arguments)
        known: T = self._known[key]
        return known


class _Caller:
    """Stands in for `orchestrator.participants.Participant`, whose breakers only delay calls."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def ask(self, action: Callable[[ServiceClient, Saga], Answer], saga: Saga, row_ids: list[str]) -> Answer:
        return action(self._client, saga)


class _Notes:
    """Stands in for `edge_api.store.Store`, and notes the statement that the Edge API wants."""

    write: Write | None = None

    def released_on_error(self, entry: dict[str, Any]) -> nullcontext[None]:
        return nullcontext()

    def authorized(self, entry: dict[str, Any], authorization_id: str, response: StoredResponse) -> bool:
        self.write = Write("authorized", (authorization_id, response.status))
        return True

    def refused(self, entry: dict[str, Any], code: str, message: str, response: StoredResponse, payers: Any) -> bool:
        self.write = Write("refused", (code, response.status))
        return True

    def let_go(self, entry: dict[str, Any]) -> None:
        self.write = Write("let_go")


TODAY = Design()
"""The protocol as it is."""
