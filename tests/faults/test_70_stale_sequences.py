"""Row 70: sequences are behind their tables, as after logical replication. Required: no order depends on a sequence."""

from __future__ import annotations

from tests.faults.shared_stack import ORCHESTRATORS, SharedStack, new_key
from tests.waiting import eventually

ORDERS = 5
RESTART_SEQUENCES = """
SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace
"""
# A sequence of another program, one row behind its table.
STALE = """
CREATE TABLE imported (id bigint GENERATED ALWAYS AS IDENTITY);
INSERT INTO imported OVERRIDING SYSTEM VALUE VALUES (2)
"""


def test_orders_need_no_sequence(stack: SharedStack) -> None:
    product = stack.product()
    for part in (1, 2):
        posted = [stack.post_order(new_key(), product).status_code for _ in range(ORDERS)]
        assert posted == [202] * ORDERS
        stack.settle()
        assert stack.by_status() == {"COMPLETED": part * ORDERS}
        stack.sql(RESTART_SEQUENCES)


def test_stale_sequence_and_changed_collation_are_logged_at_start(stack: SharedStack) -> None:
    name = ORCHESTRATORS[0]
    stack.sql(STALE)
    stack.sql("UPDATE pg_database SET datcollversion = '0' WHERE datname = current_database()")
    try:
        # The role of a process sees its own tables only. The owner's sees all, as `ops check` does.
        stack.restart(name, ORCHESTRATOR_DATABASE_URL=stack.server.url)
        eventually(lambda: "SELECT setval('imported_id_seq', 2)" in stack.log(name))
        eventually(lambda: "ALTER DATABASE holdfast REFRESH COLLATION VERSION" in stack.log(name))
    finally:
        stack.sql("DROP TABLE imported")
        stack.sql("ALTER DATABASE holdfast REFRESH COLLATION VERSION")
    stack.settle()
