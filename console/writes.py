"""What operators change: once for each key, and always in the record.

A form carries a key that was made when the page was drawn, and a program sends one, so that a doubled click or a
repeat changes nothing a second time. Each operator has keys of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.api.errors import ApiError, IdempotencyKeyReused
from common.api.fields import rfc3339
from common.api.idempotency import Fingerprint, StoredResponse, once
from common.database import operator_log
from common.database.database import Database, Row, Transaction
from console import write_statements as statements
from edge_api.commands import TABLE


class NotKnown(ApiError):
    """Nothing is known about the outcome: the change may have been made or not. Look before you try again."""

    status, code = 409, "outcome_unknown"


class Unanswered(ApiError):
    """The service gave no answer, so the change may have been made or not."""

    status, code, retry_after = 503, "service_unavailable", 1


@dataclass(frozen=True)
class Write:
    """One change that an operator asks for."""

    operator: str
    key: str
    action: str
    """As the record names it, such as `products.stock`."""
    noted: Row
    """What the record has: JSON, without secrets and personal data."""
    asked: Row | None = None
    """What is asked for: the same key with anything else is refused. None: as `noted`."""

    @property
    def scope(self) -> str:
        """Not the name of a client: these have no colon."""
        return f"console:{self.operator}"

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint({"action": self.action, "asked": self.noted if self.asked is None else self.asked})


@dataclass(frozen=True)
class Done:
    result: Row
    """As JSON has it."""
    is_repeat: bool = False


def within(database: Database, write: Write, work: Callable[[Transaction], Row], *, is_recorded: bool = False) -> Done:
    """Make a change in one transaction, together with its key and its record.

    :param is_recorded: `work` adds to the record itself
    :raises IdempotencyKeyReused: the key was used for another change
    :raises RequestExpired: the key was used, and what came of it is no longer kept
    """

    def run(tx: Transaction) -> StoredResponse:
        def make() -> StoredResponse:
            result = work(tx)
            if not is_recorded:
                _record(tx, write)
            return StoredResponse(200, _text(result))

        return once(tx, TABLE, write.scope, write.key, write.fingerprint, make, scope_column="client")

    response = database.transact(run)
    return Done(json.loads(response.body), response.replayed)


def around(database: Database, write: Write, call: Callable[[], Row], *, may_repeat: bool) -> Done:
    """Make a change by a call that has transactions of its own. It is recorded before, and so is a refusal after it.

    :param call: raises `Unanswered` if nobody knows whether something was changed, any other ApiError if nothing was
    :param may_repeat: a second call with the key has no second effect. Otherwise a key whose outcome is not known is
        refused
    :raises NotKnown: the outcome of this call or of an earlier one with the key, unless `may_repeat`
    :raises IdempotencyKeyReused: and what `call` raises
    """
    if (former := database.transact(lambda tx: _begin(tx, write, may_repeat))) is not None:
        return former
    try:
        result = call()
    except Unanswered as unknown:  # the key stays as it is
        if may_repeat:
            raise
        raise NotKnown() from unknown
    except ApiError as refusal:
        database.transact(lambda tx, why=refusal: _refused(tx, write, why))  # type: ignore[misc]
        raise
    body = _text(result)
    database.transact(lambda tx: _end(tx, write, 200, body))
    return Done(json.loads(body))


def _begin(tx: Transaction, write: Write, may_repeat: bool) -> Done | None:
    """Take the key. :returns: what came of it before; None: the call is to be made"""
    names = {"client": write.scope, "key": write.key}
    if not tx.execute(statements.TAKE_KEY, **names, fingerprint=write.fingerprint.value):
        known = tx.one(statements.KEY, **names) or {}
        if not write.fingerprint.matches(known["fingerprint"]):
            raise IdempotencyKeyReused()
        if known["status"] == 200:
            return Done(json.loads(known["body"]), is_repeat=True)
        if known["status"] is None:
            if not may_repeat:
                raise NotKnown()
            return None  # recorded already
        tx.execute(statements.TAKE_KEY_AGAIN, **names)  # refused before, so it had no effect
    _record(tx, write)
    return None


def _refused(tx: Transaction, write: Write, refusal: ApiError) -> None:
    _end(tx, write, refusal.status, _text(refusal.body()))
    operator_log.add(tx, write.operator, f"{write.action}.refused", {**write.noted, "code": refusal.code})


def _end(tx: Transaction, write: Write, status: int, body: str) -> None:
    tx.execute(statements.END_KEY, client=write.scope, key=write.key, status=status, body=body)


def _record(tx: Transaction, write: Write) -> None:
    operator_log.add(tx, write.operator, write.action, write.noted)


def _text(result: Row) -> str:
    return json.dumps(result, default=_time)


def _time(value: Any) -> str:
    if isinstance(value, datetime):
        return rfc3339(value)
    raise TypeError(type(value).__name__)
