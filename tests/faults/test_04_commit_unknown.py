"""Row 4: the COMMIT of T2 is unknown. Required: the ledger is read again, and then it is decided."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.shared_stack import SharedStack
from tests.severable import Severable

T2 = "order.authorized"
EFFECTS = ("order_ledger", "outbox", "payment_authorizations")

# The server terminates the first T2 in its COMMIT: the connection is lost and nothing is saved.
ENDED_IN_COMMIT = """
CREATE SCHEMA fault;
CREATE SEQUENCE fault.hits;
CREATE FUNCTION fault.terminate() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
  IF nextval('fault.hits') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(30); END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER terminate AFTER INSERT ON outbox DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION fault.terminate();
"""


@pytest.fixture
def severable(stack: SharedStack) -> Iterator[Severable]:
    """The path on which a second Edge API, `web.2`, reaches the database."""
    way = Severable(stack.server.url)
    stack.start("web.2", DATABASE_URL=way.url)
    yield way
    way.stop()


@pytest.fixture
def ended_in_commit(stack: SharedStack) -> Iterator[None]:
    stack.sql(ENDED_IN_COMMIT)
    yield
    stack.sql("DROP SCHEMA fault CASCADE")


def ends_as_one_sale(stack: SharedStack, product: str) -> None:
    assert [stack.count(table) for table in EFFECTS] == [1, 1, 1]
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 1}
    assert stack.post_order("k", product).status_code == 202, "a repeat gets the same answer"
    assert [stack.count(table) for table in EFFECTS] == [1, 1, 1]


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
def test_connection_lost_around_the_commit_gives_one_order(stack: SharedStack, severable: Severable, cut: str) -> None:
    product = stack.product()
    getattr(severable, cut)(T2)
    response = stack.post_order("k", product, web="web.2")
    assert severable.was_cut
    assert response.status_code == 202, response.text
    ends_as_one_sale(stack, product)


@pytest.mark.usefixtures("ended_in_commit")
def test_connection_ended_by_the_server_in_the_commit_gives_one_order(stack: SharedStack) -> None:
    product = stack.product()
    assert stack.post_order("k", product).status_code == 202
    assert stack.sql("SELECT last_value FROM fault.hits") == [(2,)], "T2 ran twice and was committed once"
    ends_as_one_sale(stack, product)


def test_committed_order_is_replayed_after_the_database_returns(stack: SharedStack, severable: Severable) -> None:
    """The ledger cannot be read again in time: 503. A repeat gets the sale that was committed."""
    product = stack.product()
    severable.cut_after(T2, and_stop=True)
    response = stack.post_order("k", product, web="web.2")
    assert (response.status_code, response.json()["error"]) == (503, "database_unavailable")
    severable.start()
    again = stack.post_order("k", product, web="web.2")
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (202, "true")
    ends_as_one_sale(stack, product)
