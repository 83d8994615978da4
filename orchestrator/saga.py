"""A claimed saga, and what each kind of answer to its next action means. No I/O here.

An action asks a participant. *Yes* is saved. *No* starts the compensation. *Nothing* is retried with the same key, and
starts the compensation when the attempts are used up. The compensation also undoes the step that was in flight, because
its request may have been executed, or may still be. A cancelled sale turns back before its next step in the same way.
A step that cannot be undone is retried until it succeeds, at longer and longer intervals. The steps are in
definitions.py.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import ClassVar, TypeVar

import backoff

from common.calls.client import Answer, Attempt, No, Nothing, Yes
from domain.states import ABANDONED, CANCELLED, Status
from orchestrator.abandoned import CLOSE_ABANDONED
from orchestrator.definitions import REFUND, SALE, AnyStatus, Step

UNDO_EVERY_S = 300  # an undo that has failed five times is retried every five minutes, without end
# Gateways settle refunds within days. A pending one is asked for at least every hour, so that its end is soon known.
PENDING_EVERY_S = 3600
PENDING_LIMIT_S = 3 * 24 * 3600
DOWN = "a service that does not answer"


@dataclass(frozen=True)
class Deferred:
    """The participant was not called, or the call is known to have had no effect (see breaker.py). Costs no attempt."""

    retry_in_s: float
    awaits: str = DOWN
    attempts: tuple[Attempt, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Pending:
    """The participant has accepted the request and will decide later. It is asked again. Costs no attempt."""

    reason: str
    attempts: tuple[Attempt, ...] = field(default=(), compare=False, repr=False)


Outcome = Answer | Deferred | Pending


@dataclass(frozen=True, kw_only=True)
class Saga:
    """What the actions of a saga need, and everything that an answer may change."""

    kind: ClassVar[str]
    steps: ClassVar[tuple[Step, ...]]
    first_claim: ClassVar[int]
    """The number of the claim that follows the request, unless the request was repeated meanwhile."""

    id: str
    claim_number: int
    request_id: str
    trace_parent: str | None = None
    """The trace of the request that began it. None: it was not traced."""
    payment_authorization_id: str | None
    items: tuple[dict[str, object], ...]

    status: AnyStatus
    compensating_from: AnyStatus | None = None
    undone: tuple[str, ...] = ()
    failure: tuple[str, str] | None = None
    retry_count: int = 0
    attention: str | None = None
    """Why an operator should look at it. None: no need."""
    detail: str | None = None
    retry_in_s: float | None = None
    """Seconds until it is due again. None: continue now."""
    stalled_s: float = 0
    """Of what must succeed – an undo, or a refund: seconds since it started or since its last progress."""
    done_products: tuple[str, ...] = ()
    """During a step for each product: those for which it is done."""
    refused_products: tuple[str, ...] = ()
    """Those that were refused. They are not asked for again."""
    attempts: tuple[Attempt, ...] = field(default=(), compare=False)
    """The requests of the last action that got no yes. They are saved with it, and do not change what comes next."""

    @property
    def is_runnable(self) -> bool:
        return self.retry_in_s is None and not self.status.is_terminal

    @property
    def must_turn_back(self) -> bool:
        """Whether it begins its compensation instead of its next step."""
        return False

    @property
    def next_action(self) -> str:
        if self.status == Status.AWAITING_AUTHORIZATION:
            return CLOSE_ABANDONED
        if self.status == Status.COMPENSATING:
            return next(name for name in self.undo if name not in self.undone)
        return self.step.do

    @property
    def step(self) -> Step:
        return self.step_at(self.status)

    @property
    def undo(self) -> tuple[str, ...]:
        return self.step_at(self.compensating_from).undo if self.compensating_from else ()

    def step_at(self, status: AnyStatus) -> Step:
        return next(step for step in self.steps if step.at == status and (self.products or not step.each_product))

    @property
    def products(self) -> tuple[str, ...]:
        """Those that a step for each product is about."""
        return ()

    @property
    def left_products(self) -> tuple[str, ...]:
        """Those that a step for each product has yet to ask for."""
        return tuple(each for each in self.products if each not in (*self.done_products, *self.refused_products))

    @property
    def next_product(self) -> str:
        """That of the next call of a step for each product."""
        return self.left_products[0]

    @property
    def continues_request(self) -> bool:
        """Whether this claim belongs to the trace of its request. Days may lie between the request and later claims."""
        return self.claim_number == self.first_claim and self.status != Status.AWAITING_AUTHORIZATION

    @property
    def links(self) -> tuple[str | None, ...]:
        """The traces that led to this claim."""
        return (self.trace_parent,)

    @property
    def log_fields(self) -> dict[str, str]:
        return {"order_ledger_id": self.id}


@dataclass(frozen=True, kw_only=True)
class Sale(Saga):
    """A claimed ledger entry."""

    kind = "sale"
    steps = SALE
    first_claim = 2  # the first one is that of the request

    user_id: str
    order_id: str
    currency: str
    total_amount_cents: int

    is_cancelled: bool = False
    """Whether the client had asked for the cancellation by the last claim or checkpoint."""

    @property
    def must_turn_back(self) -> bool:
        return self.is_cancelled and self.status in (step.at for step in self.steps)


@dataclass(frozen=True, kw_only=True)
class Refund(Saga):
    """A claimed refund."""

    kind = "refund"
    steps = REFUND
    first_claim = 1

    order_ledger_id: str
    order_trace_parent: str | None = None
    """The trace of the request that placed the order."""
    amount_cents: int
    restock: bool

    @property
    def links(self) -> tuple[str | None, ...]:
        return self.trace_parent, self.order_trace_parent

    @property
    def products(self) -> tuple[str, ...]:
        return tuple(str(item["product_id"]) for item in self.items) if self.restock else ()

    @property
    def log_fields(self) -> dict[str, str]:
        return {"refund_id": self.id, "order_ledger_id": self.order_ledger_id}


SagaT = TypeVar("SagaT", bound=Saga)


@dataclass(frozen=True)
class RetryPolicy:
    """When an unanswered action is retried."""

    base_s: float = 1
    factor: float = 4
    max_attempts: int = 5
    jitter: float = 0.1

    def delay(self, failures: int) -> float:
        """Seconds to wait after this many unanswered attempts at a step: 1, 4, 16, 64. Jitter only adds to it."""
        return self._schedule()[failures - 1] * (1 + random.random() * self.jitter)

    def undo_delay(self, failures: int) -> float:
        """The same for what never gives up, such as an undo: 1, 4, 16, 64, then always five minutes."""
        steady = UNDO_EVERY_S * self.base_s  # tests that shorten the other delays shorten this one too
        delays = [*self._schedule(), steady]
        return min(delays[min(failures, len(delays)) - 1], steady) * (1 + random.random() * self.jitter)

    def pending_delay(self, waited_s: float) -> float:
        """Seconds until a participant is asked again that will decide later: as long as it has taken so far."""
        return min(max(waited_s, self.base_s), PENDING_EVERY_S * self.base_s) * (1 + random.random() * self.jitter)

    @property
    def pending_limit_s(self) -> float:
        """How long it may take to decide before an operator is told."""
        return PENDING_LIMIT_S * self.base_s

    @property
    def stall_limit_s(self) -> float:
        """How long an undo may take before an operator is told: as long as all attempts at a step, 85 s."""
        return sum(self._schedule())

    def _schedule(self) -> Sequence[float]:
        exponential = backoff.expo(base=self.factor, factor=self.base_s)
        next(exponential)  # the generator yields None first
        return list(islice(exponential, self.max_attempts - 1))


def after(saga: SagaT, answer: Outcome, policy: RetryPolicy) -> SagaT:
    """The saga after this answer to its next action."""
    now = replace(saga, detail=None, attempts=answer.attempts)
    if isinstance(answer, Deferred):
        return _after_deferral(now, answer, policy)
    if isinstance(answer, Pending):
        return _after_pending(now, answer, policy)
    if saga.status == Status.AWAITING_AUTHORIZATION:
        return _after_closing(now, answer, policy)
    if saga.status == Status.COMPENSATING:
        return _after_undo(now, answer, policy)
    return _after_step(now, answer, policy)


def _after_deferral(saga: SagaT, answer: Deferred, policy: RetryPolicy) -> SagaT:
    reason = f"{saga.next_action} waits for {answer.awaits}"
    attention = reason if saga.stalled_s > policy.stall_limit_s else None
    return replace(saga, retry_in_s=answer.retry_in_s, detail=reason, attention=saga.attention or attention)


def _after_pending(saga: SagaT, answer: Pending, policy: RetryPolicy) -> SagaT:
    return replace(
        saga,
        retry_count=0,
        retry_in_s=policy.pending_delay(saga.stalled_s),
        detail=answer.reason,
        attention=answer.reason if saga.stalled_s > policy.pending_limit_s else None,
    )


def _after_step(saga: SagaT, answer: Answer, policy: RetryPolicy) -> SagaT:
    step = saga.step
    if isinstance(answer, Yes):
        return _advance(saga, step)
    return _turn_back(saga, step, answer, policy) if step.undo else _go_on(saga, step, answer, policy)


def _turn_back(saga: SagaT, step: Step, answer: No | Nothing, policy: RetryPolicy) -> SagaT:
    """After a step that can be undone: compensate, at once or after the last attempt."""
    match answer:
        case No(code, message):
            return _compensate(saga, code, message)
        case Nothing(reason):
            failures = saga.retry_count + 1
            if failures >= policy.max_attempts:
                return _compensate(
                    saga, f"{step.do}_unanswered", f"No answer after {failures} attempts. The last error: {reason}."
                )
            return replace(saga, retry_count=failures, retry_in_s=policy.delay(failures), detail=reason)


def _go_on(saga: SagaT, step: Step, answer: No | Nothing, policy: RetryPolicy) -> SagaT:
    """After a step that cannot be undone: end if nothing was done. Otherwise leave out what was refused, and ask again
    for what was not answered until it succeeds."""
    match answer:
        case No(code, message) if step.refused:
            detail = f"{step.do}: {code}"
            return replace(
                saga, status=step.refused, failure=(code, message), retry_count=0, attention=None, detail=detail
            )
        case No(code, message) if step.each_product:
            return _leave_out(saga, step, f"{step.do} was refused: {code}: {message}")
        case No(code, message):
            return _insist(saga, f"{step.do} was refused: {code}: {message}", policy, is_refused=True)
        case Nothing(reason):
            return _insist(saga, f"{step.do} got no answer: {reason}", policy)


def _advance(saga: SagaT, step: Step) -> SagaT:
    if not step.each_product:
        return _reach(saga, step.reaches)
    product = saga.next_product
    detail = f"{step.do} of {product} done"
    return _after_product(replace(saga, done_products=(*saga.done_products, product), detail=detail), step)


def _leave_out(saga: SagaT, step: Step, refusal: str) -> SagaT:
    """Nothing can be undone. Continue without this product, and leave it to an operator."""
    product = saga.next_product
    reason = f"{refusal} (product {product})"
    attention = f"{saga.attention}; {reason}" if saga.refused_products else reason
    refused = (*saga.refused_products, product)
    return _after_product(replace(saga, refused_products=refused, attention=attention, detail=reason), step)


def _after_product(saga: SagaT, step: Step) -> SagaT:
    return _reach(saga, saga.status if saga.left_products else step.reaches)


def _reach(saga: SagaT, status: AnyStatus) -> SagaT:
    attention = saga.attention if saga.refused_products else None
    return replace(saga, status=status, retry_count=0, attention=attention)


def _compensate(saga: SagaT, code: str, message: str) -> SagaT:
    return replace(
        saga,
        status=Status.COMPENSATING,
        compensating_from=saga.status,
        failure=(code, message),
        retry_count=0,
        detail=code if code == CANCELLED else f"{saga.step.do}: {code}",
    )


def turned_back(saga: SagaT) -> SagaT:
    """A cancelled sale that begins its compensation. Nothing is asked for that."""
    return _compensate(replace(saga, detail=None, attempts=()), CANCELLED, "The order was cancelled.")


def _after_undo(saga: SagaT, answer: Answer, policy: RetryPolicy) -> SagaT:
    action = saga.next_action
    match answer:
        case Yes():
            undone = (*saga.undone, action)
            status = Status.COMPENSATING if set(saga.undo) - set(undone) else Status.FAILED
            return replace(saga, status=status, undone=undone, retry_count=0, attention=None, detail=f"{action} done")
        case No() if _is_already_confirmed(saga, action, answer):
            detail = "was already confirmed"
            return replace(saga, status=Status.COMPLETED, failure=None, retry_count=0, attention=None, detail=detail)
        case No(code, message):
            return _insist(saga, f"{action} was refused: {code}: {message}", policy, is_refused=True)
        case Nothing(reason):
            return _insist(saga, f"{action} got no answer: {reason}", policy)


def _is_already_confirmed(saga: Saga, action: str, no: No) -> bool:
    return (
        saga.compensating_from == Status.PAYMENT_CAPTURED
        and action == "cancel_order"
        and no.code == "invalid_status_transition"
        and no.details.get("current_status") == "CONFIRMED"
    )


def _insist(saga: SagaT, reason: str, policy: RetryPolicy, *, is_refused: bool = False) -> SagaT:
    failures = saga.retry_count + 1
    needs_attention = is_refused or failures >= policy.max_attempts
    return replace(
        saga,
        retry_count=failures,
        retry_in_s=policy.undo_delay(failures),
        detail=reason,
        attention=reason if needs_attention and not saga.refused_products else saga.attention,
    )


def _after_closing(saga: SagaT, answer: Answer, policy: RetryPolicy) -> SagaT:
    """The client never returned. Close the entry once it is certain that no hold is left."""
    match answer:
        case Yes():
            return replace(saga, status=Status.AUTHORIZATION_FAILED, retry_count=0, attention=None, detail=ABANDONED)
        case No(code, message):
            return _insist(saga, f"{CLOSE_ABANDONED} was refused: {code}: {message}", policy, is_refused=True)
        case Nothing(reason):
            return _insist(saga, f"{CLOSE_ABANDONED} got no answer: {reason}", policy)
