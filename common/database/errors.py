"""Errors of the database layer for work that may succeed later. Any other error is raised unchanged.

The docstring of each is its message.
"""

from __future__ import annotations


class TransientDatabaseError(Exception):
    """The database could not do this now. The same work may be tried again."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class DatabaseBusy(TransientDatabaseError):
    """Other transactions hold what this work needs: a connection of the pool, or rows that stay locked."""


class RowsLocked(DatabaseBusy):
    """Other transactions keep a row locked that this work needs. Nothing was changed."""


class DatabaseUnavailable(TransientDatabaseError):
    """The database cannot be reached, or the connection was lost before the change was committed."""


class NotMigrated(TransientDatabaseError):
    """The database lacks migrations of this release. Nothing was saved. Run `python -m ops migrate`."""


class CommitOutcomeUnknown(DatabaseUnavailable):
    """The connection was lost during COMMIT. The change may or may not be saved."""
