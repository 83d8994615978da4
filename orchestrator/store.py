"""The claimed sagas: claims, saved outcomes, and entries that are set aside. An entry is an order's or a refund's."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Sequence

import backoff

from common.database import entry_errors
from common.database.database import Database, Row
from common.database.errors import DatabaseBusy
from common.process import measures
from orchestrator import abandoned, entries
from orchestrator.attempts import CALLS
from orchestrator.entries import Entries
from orchestrator.group_commit import GroupCommit
from orchestrator.saga import Saga, SagaT

log = logging.getLogger(__name__)

MAX_UNPRODUCTIVE_CLAIMS = 5
SET_ASIDE_S = 300  # an entry that kills every process that claims it may do so every five minutes
RELEASE_AFTER_LOSS_S = 1  # an entry whose work always loses the connection is retried once a second, not at once
LOCK_WAIT_S = 8  # how long to retry the save of a locked entry before its claim is left to the lease
NO_ENTRY = "00000000-0000-0000-0000-000000000000"


class Store:
    """Raises TransientDatabaseError when the database cannot be used now."""

    def __init__(self, database: Database, claimant: str, lease_s: float, of: Entries = entries.ORDERS) -> None:
        self.database, self.claimant, self.lease_s, self._of = database, claimant, lease_s, of
        self._save_in_group = GroupCommit(self._save)

    def claim(self, limit: int) -> list[Saga]:
        """Claim at most `limit` entries that are due, the longest overdue first.

        When they cannot be claimed together, each is claimed alone, so that one of them does not stop the others.
        """
        try:
            rows = self._claim(self._of.sql.CLAIM, limit=limit)
        except Exception as error:  # re-raised unless one entry may be the cause
            if not entry_errors.may_be_one_entry(error):
                raise
            log.warning("cannot claim entries together, claiming each alone: %s", entry_errors.reason(error))
            rows = self._claim_each(limit)
        measures.claimed(row["waited_s"] for row in rows)
        if writable_again := [row["id"] for row in rows if row["was_set_aside"]]:
            self.database.all(self._of.sql.IS_WRITABLE_AGAIN, ids=writable_again)
        for row in rows:
            if row["unproductive_claims"] > MAX_UNPRODUCTIVE_CLAIMS:
                log.error("needs attention: %s", row["attention_reason"], extra={self._of.id_name: row["id"]})
        return [saga for row in rows if (saga := self._readable(row))]

    def next_due_in(self) -> float | None:
        """Seconds until the next entry is due, by the database's clock. None: no entry is open."""
        row = self.database.one(self._of.sql.NEXT_DUE)
        return None if row is None else float(row["seconds"])

    def save(self, was: SagaT, now: SagaT) -> SagaT | None:
        """Save the saga's new state, together with others. :returns: as saved; None if the claim is lost

        Of a sale it is then known whether the client has cancelled the order.

        When they cannot be saved together, each thread saves its own, so that one of them does not stop the others.
        """
        entry = self._of.entry_of(was, now)
        try:
            saved = self._save_in_group(entry)
        except Exception as error:  # re-raised unless one entry may be the cause
            if not entry_errors.may_be_one_entry(error):
                raise
            saved = self._save_noted_or_not(entry)
        return None if saved is None else self._of.as_saved(now, saved)

    def release(self, saga: Saga) -> None:
        """Release the claim unfinished. The entry is due at once for any orchestrator."""
        self._release(saga.id, saga.claim_number, delay_s=0)

    def release_stranded(self, in_flight: Collection[str]) -> None:
        """Release every claim of this process except those on the entries in flight.

        The connection was lost before the process learned what it had claimed, or could save an outcome.
        """
        for row in self.database.all(self._of.sql.STRANDED, claimant=self.claimant, in_flight=list(in_flight)):
            try:
                self._release(row["id"], row["claim_number"], RELEASE_AFTER_LOSS_S)
            except Exception as error:  # re-raised unless one entry may be the cause
                if not entry_errors.may_be_one_entry(error):
                    raise
                self._log_left_to_lease(row["id"], error)

    def set_aside(self, saga: Saga, error: Exception) -> None:
        """Mark a claimed entry with the error that ended the work on it, and release it for a later try.

        It is left to its lease if the database delays or refuses every write.
        """
        if entry_errors.is_from_database(error) and (entry_errors.is_delay(error) or not self._can_save()):
            self._log_left_to_lease(saga.id, error)
            return
        self._set_aside(saga.id, saga.claim_number, error)

    def _claim(self, statement: str, **params: object) -> list[Row]:
        return self.database.all(
            statement,
            claimant=self.claimant,
            lease_s=self.lease_s,
            max_claims=MAX_UNPRODUCTIVE_CLAIMS,
            set_aside_s=SET_ASIDE_S,
            **abandoned.MARK,
            **params,
        )

    def _claim_each(self, limit: int) -> list[Row]:
        """Claim the due entries one by one, and set aside those that are refused."""
        rows: list[Row] = []
        refused: list[tuple[Row, Exception]] = []
        for entry in self.database.all(self._of.sql.DUE, limit=limit):
            try:
                rows += self._claim(self._of.sql.CLAIM_ONE, id=entry["id"])
            except Exception as error:  # re-raised unless one entry may be the cause
                if not entry_errors.may_be_one_entry(error):
                    raise
                refused.append((entry, error))
        if refused and not rows:
            self._check_claims(refused[0][1])
        for entry, refusal in refused:
            self._set_aside(entry["id"], entry["claim_number"], refusal)
        return rows

    def _check_claims(self, error: Exception) -> None:
        """Raise when the database refuses or delays every claim, not only those of some entries."""
        if entry_errors.is_delay(error):
            raise error
        self._claim(self._of.sql.CLAIM_ONE, id=NO_ENTRY)

    def _readable(self, row: Row) -> Saga | None:
        try:
            return self._of.saga_of(row)
        except (TypeError, ValueError) as error:
            self._set_aside(row["id"], row["claim_number"], error)
            return None

    def _save(self, entries: Sequence[Row]) -> list[Row | None]:
        is_noted = any(CALLS in entry for entry in entries)
        noted: Row = {"clock": time.monotonic()} if is_noted else {}
        saved = self.database.all(
            self._of.sql.SAVE_WITH_ATTEMPTS if is_noted else self._of.sql.SAVE,
            entries=json.dumps(entries),
            lease_s=self.lease_s,
            renew_below_s=self.lease_s * 0.75,  # two calls of at most 10 s each (void, then refund) fit into the rest
            **noted,
        )
        # The id alone is not enough: a former owner may be in the same group as the current one.
        ours = {(row["id"], row["claim_number"]): row for row in saved}
        return [ours.get((entry["id"], entry["claim_number"])) for entry in entries]

    def _save_noted_or_not(self, entry: Row) -> Row | None:
        """The record of attempts is for people. An order does not wait for it, and needs nobody because of it."""
        try:
            return self._save_alone(entry)
        except Exception as error:  # re-raised unless the noted attempts may be the cause
            if CALLS not in entry or not entry_errors.may_be_one_entry(error):
                raise
            log.error("attempts are not noted: %s", entry_errors.reason(error), extra={self._of.id_name: entry["id"]})
        return self._save([{name: value for name, value in entry.items() if name != CALLS}])[0]

    @backoff.on_exception(
        backoff.expo, DatabaseBusy, giveup=lambda error: not entry_errors.is_delay(error), max_time=LOCK_WAIT_S,
        factor=0.1, max_value=1, logger=None,
    )  # fmt: skip
    def _save_alone(self, entry: Row) -> Row | None:
        """Retry while the entry is locked. No connection is held meanwhile."""
        return self._save([entry])[0]

    def _can_save(self) -> bool:
        """Whether the database would save an outcome for some other entry."""
        try:
            self._save([])
        except Exception as error:  # any error gives the same answer
            log.warning("no outcome can be saved: %s", entry_errors.reason(error))
            return False
        return True

    def _release(self, id_: str, claim_number: int, delay_s: float) -> None:
        self.database.one(
            self._of.sql.RELEASE, id=id_, claim_number=claim_number, claimant=self.claimant, delay_s=delay_s
        )

    def _set_aside(self, id_: str, claim_number: int, error: Exception) -> None:
        """Mark the entry itself, or record it in a separate table if it cannot be written. Does not raise."""
        reason = entry_errors.reason(error)
        log.error("needs attention: %s", reason, exc_info=error, extra={self._of.id_name: id_})
        for statement in (self._of.sql.SET_ASIDE, self._of.sql.SET_ASIDE_UNWRITABLE):
            try:
                self.database.all(statement, id=id_, claim_number=claim_number, reason=reason, set_aside_s=SET_ASIDE_S)
                return
            except Exception as refusal:  # logged: if neither statement works, the lease remains
                log.warning("cannot mark it: %s", entry_errors.reason(refusal), extra={self._of.id_name: id_})

    def _log_left_to_lease(self, id_: str, error: Exception) -> None:
        log.warning("left to its lease: %s", entry_errors.reason(error), extra={self._of.id_name: id_})
