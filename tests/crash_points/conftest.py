"""These tests use their own database server."""

from tests.own_server import admin, own_server

__all__ = ["admin", "own_server"]
