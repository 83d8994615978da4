"""Crash points are reached on a server of their own."""

from tests.own_server import admin, own_server

__all__ = ["admin", "own_server"]
