"""Walks a saga from where it stands: ask, decide, write down, until it ends, must wait, or belongs to somebody else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.calls.client import Answer
from common.process import moments
from common.process.logs import request_id
from domain.states import Status
from orchestrator.saga import Deferred, RetryPolicy, Saga, after

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Engine:
    """No I/O of its own: `ask` reaches a participant, `save` the ledger, `release` gives an entry back unfinished."""

    ask: Callable[[Saga], Answer | Deferred]
    save: Callable[[Saga, Saga], bool]
    release: Callable[[Saga], None]
    policy: RetryPolicy
    is_stopping: Callable[[], bool] = lambda: False

    def run(self, saga: Saga) -> Saga:
        """Work on a claimed saga; what it has become as far as we know."""
        request_id.set(saga.request_id)
        moments.reached("saga.after_claim", saga.next_action)
        while saga.is_in_hand:
            if self.is_stopping():
                self.release(saga)
                break
            action = saga.next_action
            moments.reached("saga.before_call", action)
            answer = self.ask(saga)
            moments.reached("saga.after_call", action)
            now = after(saga, answer, self.policy)
            if now.status == Status.FAILED:
                moments.reached("undo.before_failed")
            if not self.save(saga, now):
                log.warning("somebody else has taken the order over", extra=_about(saga, action))
                break
            moments.reached("saga.after_checkpoint", action)
            _tell(saga, now, action)
            saga = now
        return saga


def _tell(was: Saga, now: Saga, action: str) -> None:
    about = _about(now, action)
    if was.attention and not now.attention:
        log.info("needs no attention any more", extra=about)
    if now.attention and not was.attention:
        log.error("needs attention: %s", now.attention, extra=about)
    elif now.wait_s is not None:
        log.warning("%s; again in %.1f s", now.detail or "waiting", now.wait_s, extra=about)
    elif now.status.is_terminal:
        log.info("%s", now.status, extra=about | ({"failure": now.failure[0]} if now.failure else {}))
    else:
        log.debug("%s", now.status, extra=about)


def _about(saga: Saga, action: str) -> dict[str, Any]:
    return {
        "order_ledger_id": saga.id,
        "action": action,
        "claim_number": saga.claim_number,
        "retry_count": saga.retry_count,
    }
