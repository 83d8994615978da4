"""Tests of `common` use their own database server, which they may damage."""

from tests.own_server import admin, database, new_database, own_server

__all__ = ["admin", "database", "new_database", "own_server"]
