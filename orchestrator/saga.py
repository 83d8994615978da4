"""The saga: its steps, their undo, and what each kind of answer means. No I/O here.

    AUTHORIZED → ORDER_CREATED → INVENTORY_RESERVED → PAYMENT_CAPTURED → COMPLETED
         └──────────────┴─────────────────┴──────────────────┴→ COMPENSATING → FAILED

An action asks a participant. *Yes* is saved. *No* starts the compensation. *Nothing* is retried with the same key, and
starts the compensation when the attempts are used up. The compensation also undoes the step that was in flight, because
its request may have been executed, or may still be. A cancelled saga turns back before its next step in the same way.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import backoff

from common.calls.client import Answer, No, Nothing, Yes
from domain.states import ABANDONED, CANCELLED, Status
from orchestrator.abandoned import CLOSE_ABANDONED


@dataclass(frozen=True)
class Step:
    at: Status
    """The saga's status when this step is next."""
    do: str
    reaches: Status
    undo: tuple[str, ...]
    """The undos of everything done so far, in this order: the customer's money first."""


STEPS = (
    Step(Status.AUTHORIZED, "create_order", Status.ORDER_CREATED, ("void_payment", "cancel_order")),
    Step(Status.ORDER_CREATED, "reserve_inventory", Status.INVENTORY_RESERVED,
         ("void_payment", "release_inventory", "cancel_order")),
    Step(Status.INVENTORY_RESERVED, "capture_payment", Status.PAYMENT_CAPTURED,
         ("void_payment", "release_inventory", "cancel_order")),
    # The cancel comes first: if the order is already confirmed, only the answer was lost, and the sale stands.
    Step(Status.PAYMENT_CAPTURED, "confirm_order", Status.COMPLETED,
         ("cancel_order", "void_payment", "release_inventory")),
)  # fmt: skip
STEP_AT = {step.at: step for step in STEPS}
UNDO_EVERY_S = 300  # an undo that has failed five times is retried every five minutes, without end


@dataclass(frozen=True)
class Deferred:
    """The participant was not called, or the call is known to have had no effect (see breaker.py). Costs no attempt."""

    retry_in_s: float
    awaits: str = "a participant that is down"


@dataclass(frozen=True, kw_only=True)
class Saga:
    """A claimed ledger entry: what its actions need, and everything that an answer may change."""

    id: str
    claim_number: int
    request_id: str
    user_id: str
    order_id: str
    currency: str
    total_amount_cents: int
    payment_authorization_id: str | None
    items: tuple[dict[str, object], ...]

    status: Status
    compensating_from: Status | None = None
    undone: tuple[str, ...] = ()
    failure: tuple[str, str] | None = None
    retry_count: int = 0
    attention: str | None = None
    """Why an operator should look at it. None: no need."""
    detail: str | None = None
    retry_in_s: float | None = None
    """Seconds until it is due again. None: continue now."""
    is_cancelled: bool = False
    """Whether the client had asked for the cancellation by the last claim or checkpoint."""
    stalled_s: float = 0
    """During the compensation: seconds since it started or since an undo last succeeded."""

    @property
    def is_runnable(self) -> bool:
        return self.retry_in_s is None and not self.status.is_terminal

    @property
    def must_turn_back(self) -> bool:
        return self.is_cancelled and self.status in STEP_AT

    @property
    def next_action(self) -> str:
        if self.status == Status.AWAITING_AUTHORIZATION:
            return CLOSE_ABANDONED
        if self.status == Status.COMPENSATING:
            return next(name for name in self.undo if name not in self.undone)
        return STEP_AT[self.status].do

    @property
    def undo(self) -> tuple[str, ...]:
        return STEP_AT[self.compensating_from].undo if self.compensating_from else ()


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
        """The same for an undo, which never gives up: 1, 4, 16, 64, then always five minutes."""
        steady = UNDO_EVERY_S * self.base_s  # tests that shorten the other delays shorten this one too
        delays = [*self._schedule(), steady]
        return min(delays[min(failures, len(delays)) - 1], steady) * (1 + random.random() * self.jitter)

    @property
    def stall_limit_s(self) -> float:
        """How long an undo may take before an operator is told: as long as all attempts at a step, 85 s."""
        return sum(self._schedule())

    def _schedule(self) -> Sequence[float]:
        exponential = backoff.expo(base=self.factor, factor=self.base_s)
        next(exponential)  # the generator yields None first
        return list(islice(exponential, self.max_attempts - 1))


def after(saga: Saga, answer: Answer | Deferred, policy: RetryPolicy) -> Saga:
    """The saga after this answer to its next action."""
    now = replace(saga, detail=None)
    if isinstance(answer, Deferred):
        return _after_deferral(now, answer, policy)
    if saga.status == Status.AWAITING_AUTHORIZATION:
        return _after_closing(now, answer, policy)
    if saga.status == Status.COMPENSATING:
        return _after_undo(now, answer, policy)
    return _after_step(now, answer, policy)


def _after_deferral(saga: Saga, answer: Deferred, policy: RetryPolicy) -> Saga:
    reason = f"{saga.next_action} waits for {answer.awaits}"
    attention = reason if saga.stalled_s > policy.stall_limit_s else None
    return replace(saga, retry_in_s=answer.retry_in_s, detail=reason, attention=saga.attention or attention)


def _after_step(saga: Saga, answer: Answer, policy: RetryPolicy) -> Saga:
    step = STEP_AT[saga.status]
    match answer:
        case Yes():
            return replace(saga, status=step.reaches, retry_count=0, attention=None)
        case No(code, message):
            return _compensate(saga, code, message)
        case Nothing(reason):
            failures = saga.retry_count + 1
            if failures >= policy.max_attempts:
                return _compensate(
                    saga, f"{step.do}_unanswered", f"No answer after {failures} attempts. The last error: {reason}."
                )
            return replace(saga, retry_count=failures, retry_in_s=policy.delay(failures), detail=reason)


def _compensate(saga: Saga, code: str, message: str) -> Saga:
    return replace(
        saga,
        status=Status.COMPENSATING,
        compensating_from=saga.status,
        failure=(code, message),
        retry_count=0,
        detail=code if code == CANCELLED else f"{STEP_AT[saga.status].do}: {code}",
    )


def turned_back(saga: Saga) -> Saga:
    """A cancelled saga that begins its compensation. Nothing is asked for that."""
    return _compensate(replace(saga, detail=None), CANCELLED, "The client cancelled the order.")


def _after_undo(saga: Saga, answer: Answer, policy: RetryPolicy) -> Saga:
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
            return _retry_undo(saga, f"{action} was refused: {code}: {message}", policy, is_refused=True)
        case Nothing(reason):
            return _retry_undo(saga, f"{action} got no answer: {reason}", policy)


def _is_already_confirmed(saga: Saga, action: str, no: No) -> bool:
    return (
        saga.compensating_from == Status.PAYMENT_CAPTURED
        and action == "cancel_order"
        and no.code == "invalid_status_transition"
        and no.details.get("current_status") == "CONFIRMED"
    )


def _retry_undo(saga: Saga, reason: str, policy: RetryPolicy, *, is_refused: bool = False) -> Saga:
    failures = saga.retry_count + 1
    needs_attention = is_refused or failures >= policy.max_attempts
    return replace(
        saga,
        retry_count=failures,
        retry_in_s=policy.undo_delay(failures),
        detail=reason,
        attention=reason if needs_attention else saga.attention,
    )


def _after_closing(saga: Saga, answer: Answer, policy: RetryPolicy) -> Saga:
    """The client never returned. Close the entry once it is certain that no hold is left."""
    match answer:
        case Yes():
            return replace(saga, status=Status.AUTHORIZATION_FAILED, retry_count=0, attention=None, detail=ABANDONED)
        case No(code, message):
            return _retry_undo(saga, f"{CLOSE_ABANDONED} was refused: {code}: {message}", policy, is_refused=True)
        case Nothing(reason):
            return _retry_undo(saga, f"{CLOSE_ABANDONED} got no answer: {reason}", policy)
