"""The check of the database role and the record of a start, when the database does not answer at first."""

import threading
from contextlib import closing
from urllib.parse import urlsplit

import psycopg2
import pytest

from common.database import start
from common.process.settings import Settings
from common.schema.accounts import address_of
from common.schema.roles import role_of
from tests import credentials
from tests.severable import Severable
from tests.waiting import eventually

CHECK = "rolsuper"
"""A word of the statement that asks for the role's rights."""


@pytest.fixture
def way(migrated_url):
    """The owner's way to the database."""
    way = Severable(migrated_url)
    yield way
    way.stop()


@pytest.fixture
def starts(migrated_url):
    """The number of recorded starts since the test began."""

    def count():
        with closing(psycopg2.connect(migrated_url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM operator_log WHERE action = 'start' AND actor LIKE 'orchestrator@%'")
            return cursor.fetchone()[0]

    before = count()
    return lambda: count() - before


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(start, "TRY_AGAIN_S", 0.01)
    monkeypatch.setattr(start, "CHECK_WITHIN_S", 30.0)


def in_production(url, **environ):
    environ = {"ORCHESTRATOR_DATABASE_URL": url, "APP_ENV": "production", **credentials.SETTINGS, **environ}
    return Settings.load(environ, "orchestrator")


def own(url):
    return address_of(url, role_of("orchestrator"))


def test_start_is_recorded_only_after_the_role_is_known(way, starts):
    """A check without an answer is repeated. It does not count as a role that may run."""
    way.cut_before(CHECK)
    stopped = threading.Event()
    start.record(in_production(way.url), "orchestrator", stopped.set)
    eventually(lambda: stopped.is_set() or starts(), 30)
    assert way.was_cut
    assert (stopped.is_set(), starts()) == (True, 0)


def test_start_with_its_own_role_is_recorded_when_the_check_succeeds(way, starts):
    way.cut_before(CHECK)
    stopped = threading.Event()
    start.record(in_production(own(way.url)), "orchestrator", stopped.set)
    eventually(starts, 30)
    assert way.was_cut
    assert (stopped.is_set(), starts()) == (False, 1)


def test_role_is_unknown_if_the_database_is_silent(way, monkeypatch):
    monkeypatch.setattr(start, "CHECK_WITHIN_S", 0.1)
    way.be_silent()
    assert start.role_problem(in_production(way.url), "orchestrator") is None


def test_role_is_unknown_if_one_of_two_addresses_is_down(way, migrated_url):
    way.stop()
    down = in_production(own(migrated_url), ORCHESTRATOR_DATABASE_DIRECT_URL=way.url)
    assert start.role_problem(down, "orchestrator") is None


def test_owner_may_not_run(way):
    problem = start.role_problem(in_production(way.url), "orchestrator")
    assert problem.startswith("ORCHESTRATOR_DATABASE_URL must not name a role that owns the tables")


def test_own_role_may_run(migrated_url):
    assert start.role_problem(in_production(own(migrated_url)), "orchestrator") == ""


def test_role_is_unknown_before_the_first_migration(migrated_url):
    """The role may become the owner of the tables."""
    empty = urlsplit(own(migrated_url))._replace(path="/template1").geturl()
    assert start.role_problem(in_production(empty), "orchestrator") is None
