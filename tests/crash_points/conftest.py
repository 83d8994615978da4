"""These tests use a database server of their own."""

from tests.own_server import admin, own_server

__all__ = ["admin", "own_server"]
