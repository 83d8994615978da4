"""Tests of `common` may do harm to a server of their own."""

from tests.own_server import admin, database, new_database, own_server

__all__ = ["admin", "database", "new_database", "own_server"]
