"""Runs a claimed saga: ask, decide, save, until it ends, has to wait, or turns out to be claimed by another process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.process import moments
from common.process.logs import request_id
from common.tracing import tracer
from common.tracing.tracer import Kind, Value
from domain.states import Status
from orchestrator.saga import Outcome, RetryPolicy, Saga, after, turned_back

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Engine:
    """Does no I/O itself: `ask` calls a participant, `save` writes to the ledger, `release` releases the claim.

    `save` returns the saga as it was saved, which may have been cancelled meanwhile, or None if the claim is lost.
    """

    ask: Callable[[Saga], Outcome]
    save: Callable[[Any, Any], Saga | None]
    release: Callable[[Any], None]
    policy: RetryPolicy
    is_stopping: Callable[[], bool] = lambda: False

    def run(self, saga: Saga) -> Saga:
        """Work on a claimed saga. :returns: its last known state"""
        request_id.set(saga.request_id)
        with tracer.trace(
            f"saga {saga.kind}",
            Kind.CONSUMER,
            _attributes(saga),
            continues=saga.trace_parent if saga.continues_request else None,
            links=saga.links,
        ) as span:
            saga = self._run(saga)
            span.set("holdfast.status", saga.status)
        return saga

    def _run(self, saga: Saga) -> Saga:
        moments.reached("saga.after_claim", saga.next_action)
        while saga.is_runnable:
            if self.is_stopping():
                self.release(saga)
                break
            action = saga.next_action
            now = turned_back(saga) if saga.must_turn_back else self._asked(saga, action)
            if saga.status == Status.COMPENSATING and now.status == Status.FAILED:
                moments.reached("undo.before_failed")
            saved = self.save(saga, now)
            if saved is None:
                log.warning("another process has claimed it, so this one stops", extra=_fields(saga, action))
                break
            moments.reached("saga.after_checkpoint", action)
            _log_progress(saga, now, action)
            saga = saved
        return saga

    def _asked(self, saga: Saga, action: str) -> Saga:
        moments.reached("saga.before_call", action)
        with tracer.span(action, attributes=_attributes(saga)) as span:
            answer = self.ask(saga)
            span.set("holdfast.answer", type(answer).__name__.lower())
        moments.reached("saga.after_call", action)
        return after(saga, answer, self.policy)


def _log_progress(was: Saga, now: Saga, action: str) -> None:
    fields = _fields(now, action)
    if was.attention and not now.attention:
        log.info("no longer needs attention", extra=fields)
    if now.attention and not was.attention:
        log.error("needs attention: %s", now.attention, extra=fields)
    elif now.retry_in_s is not None:
        log.warning("%s; retrying in %.1f s", now.detail or "waiting", now.retry_in_s, extra=fields)
    elif now.status.is_terminal:
        log.info("%s", now.status, extra=fields | ({"failure": now.failure[0]} if now.failure else {}))
    else:
        log.debug("%s", now.status, extra=fields)


def _attributes(saga: Saga) -> dict[str, Value]:
    ids = {f"holdfast.{name}": id_ for name, id_ in saga.log_fields.items()}
    return {**ids, "holdfast.claim_number": saga.claim_number}


def _fields(saga: Saga, action: str) -> dict[str, Any]:
    return {
        **saga.log_fields,
        "action": action,
        "claim_number": saga.claim_number,
        "retry_count": saga.retry_count,
    }
