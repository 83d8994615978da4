"""Separate databases, and the complete system in one thread on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.audit.small_world import SmallWorld
from tests.database.conftest import connect, new_database, new_migrated_database
from tests.system.conftest import open_orders, settle, start

__all__ = ["connect", "new_database", "new_migrated_database", "open_orders", "settle", "start"]  # fixtures


@pytest.fixture(scope="session")
def one_world(migrated_url: str) -> Iterator[SmallWorld]:
    with closing(SmallWorld(migrated_url)) as world:
        yield world


@pytest.fixture
def world(one_world: SmallWorld, url: str) -> Iterator[SmallWorld]:
    """The small world with empty tables and without network faults."""
    one_world.reset()
    with one_world.network():
        yield one_world
