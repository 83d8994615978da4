"""The business figures among the metrics agree with the books."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from common.database.database import Database
from common.ledger import sums
from common.schema.accounts import address_of
from common.schema.roles import AUDIT, role_of
from domain.states import Status
from ops.audit import audit
from orchestrator.figures import OPEN, Figures
from tests.audit.conftest import one_world, world
from tests.audit.small_world import SmallWorld
from tests.common.ledger.conftest import ARE_ALL_SHOWN, in_the_books
from tests.common.ledger.test_sums import place_everything
from tests.database.conftest import new_database
from tests.waiting import eventually

__all__ = ["in_the_books", "new_database", "one_world", "world"]  # fixtures
Read = Callable[[], dict[tuple[str, ...], float]]
ENDPOINT = """
INSERT INTO webhook_endpoints (id, client, url, event_types, cursor_xid, cursor_position, status, disabled_at,
  disabled_reason)
VALUES (%(id)s, (SELECT client FROM order_ledger LIMIT 1), 'https://shop.example', '{*}', '0', 0, %(status)s,
  CASE %(status)s WHEN 'disabled' THEN now() END, CASE %(status)s WHEN 'disabled' THEN 'why' END)
"""


@pytest.fixture
def read(database: Database) -> Read:
    """All samples: name and labels → value."""

    def samples() -> dict[tuple[str, ...], float]:
        return {
            (sample.name.removeprefix("holdfast_"), *sample.labels.values()): sample.value
            for family in Figures(database).collect()
            for sample in family.samples
        }

    return samples


def seconds(world: SmallWorld, text: str, **params: object) -> float:
    ((found,),) = world.sql(f"SELECT extract(epoch FROM ({text}))::float", **params)
    return float(found)


def test_totals_agree_with_the_books(
    world: SmallWorld, database: Database, read: Read, in_the_books: Callable[[], dict[str, int]]
) -> None:
    place_everything(world)
    eventually(lambda: database.all(ARE_ALL_SHOWN)[0]["yes"])
    while sums.count_next(database):
        pass
    found, books = read(), in_the_books()
    for outcome in ("accepted", "declined", "completed", "failed", "cancelled"):
        assert found["orders_total", outcome] == books[outcome] > 0
    for outcome in ("succeeded", "failed"):
        assert found["refunds_total", outcome] == books[f"refunds_{outcome}"] > 0
    assert found["order_duration_seconds_count",] == found["order_duration_seconds_bucket", "+Inf"]
    assert found["order_duration_seconds_count",] == books["completed"]
    assert found["order_duration_seconds_sum",] > 0


def test_open_orders_are_shown_by_state(world: SmallWorld, read: Read) -> None:
    product = world.product()
    world.order(product)
    waiting = world.order(product).json["order_ledger_id"]
    world.sql("UPDATE order_ledger SET due_at = now() - interval '1 h' WHERE id = %(id)s", id=waiting)
    oldest = seconds(world, "SELECT min(created_at) FROM order_ledger")
    found = read()
    assert {status: found["orders_open", status] for status in OPEN} == dict.fromkeys(OPEN, 0) | {Status.AUTHORIZED: 2}
    assert found["holds_open",] == 2
    assert found["oldest_hold_timestamp_seconds",] == pytest.approx(oldest)
    assert found["oldest_due_timestamp_seconds",] == pytest.approx(time.time() - 3600, abs=120)
    world.run_once(until=Status.PAYMENT_CAPTURED)
    world.sql("UPDATE order_ledger SET due_at = now() + interval '1 h', next_retry_at = now() + interval '1 h',"
              " needs_attention_at = now(), attention_reason = 'why'")  # fmt: skip
    found = read()
    assert (found["orders_open", Status.PAYMENT_CAPTURED], found["holds_open",]) == (2, 0)
    assert (found["orders_retrying",], found["needs_attention",]) == (2, 2)
    assert ("oldest_hold_timestamp_seconds",) not in found
    assert ("oldest_due_timestamp_seconds",) not in found


def test_entry_that_cannot_be_written_needs_attention(world: SmallWorld, read: Read) -> None:
    world.order(world.product())
    world.sql("UPDATE order_ledger SET due_at = now() - interval '1 h'")
    world.sql("INSERT INTO set_aside_entries (order_ledger_id, reason, retry_at)"
              " SELECT id, 'why', now() + interval '5 min' FROM order_ledger")  # fmt: skip
    found = read()
    assert found["needs_attention",] == 1
    assert ("oldest_due_timestamp_seconds",) not in found  # it is due when it is tried again


def test_events_without_deliveries_and_overdue_deliveries_are_shown(world: SmallWorld, read: Read) -> None:
    world.order(world.product())
    assert ("webhook_oldest_pending_timestamp_seconds",) not in read()
    for number, status in enumerate(["enabled", "disabled"]):
        world.sql(ENDPOINT, id=f"we_{number}", status=status)
    first = seconds(world, "SELECT min(at) FROM events")
    eventually(lambda: ("webhook_oldest_pending_timestamp_seconds",) in read())
    found = read()
    assert found["webhook_oldest_pending_timestamp_seconds",] == pytest.approx(first)
    assert found["webhook_endpoints_disabled",] == 1
    world.sql("UPDATE webhook_endpoints SET cursor_xid = (SELECT max(xid::text::bigint)::text::xid8 FROM events),"
              " cursor_position = (SELECT max(position) FROM events)")  # fmt: skip
    assert ("webhook_oldest_pending_timestamp_seconds",) not in read()
    world.sql("INSERT INTO webhook_deliveries (id, endpoint_id, message_id, type, due_at) VALUES (gen_random_uuid(),"
              " 'we_0', 'evt_test', 'endpoint.test', now() - interval '1 h')")  # fmt: skip
    found = read()
    assert found["webhook_oldest_pending_timestamp_seconds",] == pytest.approx(time.time() - 3600, abs=120)


def test_last_audit_is_shown(world: SmallWorld, url: str, read: Read) -> None:
    assert not any(name.startswith("audit") for name, *_ in read())
    world.order(world.product())
    world.work()
    environ = {"DATABASE_URL": url, "APP_ENV": "test"}
    assert audit(environ).total == 0
    world.sql("DELETE FROM events")
    report = audit(environ)
    found = read()
    assert {rule: found["audit_violations", rule] for rule in report.found} == report.found
    assert found["audit_violations", "events"] > 0
    assert found["audit_timestamp_seconds",] == pytest.approx(seconds(world, "SELECT max(at) FROM audit_runs"))
    runs = world.sql("SELECT healthy, rows_found, violations ->> 'events' FROM audit_runs ORDER BY at")
    assert runs == [(True, 0, "0"), (False, report.total, str(report.found["events"]))]


def test_audit_is_recorded_by_its_own_role(world: SmallWorld, url: str) -> None:
    own = address_of(url, role_of(AUDIT))
    assert audit({"AUDIT_DATABASE_URL": own, "APP_ENV": "test"}).total == 0
    assert world.sql("SELECT healthy, rows_found FROM audit_runs") == [(True, 0)]


def test_figures_are_missing_while_the_database_does_not_answer(new_database: Callable[[], str]) -> None:
    database = Database(new_database(), name="test", size=1)  # without tables
    assert list(Figures(database).collect()) == []
    database.close()
