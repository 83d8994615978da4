"""The complete system in one thread, and separate databases."""

from tests.audit.conftest import one_world, world
from tests.database.conftest import connect, new_database, new_migrated_database

__all__ = ["connect", "new_database", "new_migrated_database", "one_world", "world"]  # fixtures
