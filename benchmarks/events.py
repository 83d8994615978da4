"""Part 10, events: `GET /events` among 3,000 and 3,000,000 events, and what the events cost an order.

Each order has one to three events, and a third of the orders belongs to the client that asks. A round visits both
databases with each question in turn, so that changes of the machine's speed affect both. What an order costs is
measured with the ledger's guard as it is, and without its call of `add_event`, in turn: the processor time of the
connection's process in the database.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

import psycopg2

from benchmarks import lists
from benchmarks.bench import Bench
from benchmarks.figures import Figures, at_most
from benchmarks.growth import ONE_WORKER
from benchmarks.ledger import percentile, query
from benchmarks.load import get_in_turn
from benchmarks.processes import ALL, System
from benchmarks.result import Part, Ratio
from domain.ids import new_order_ledger_id

SIZES, SHORT_SIZES = (1_050, 1_050_000), (105, 1_050)  # orders
PAGES, SHORT_PAGES = 200, 20  # of each question in a round
WALKS, SHORT_WALKS, TURNS = 400, 20, 4  # with and without events, in each turn
LIMIT = 5  # the small database, too, has as many of each kind
FLAT = 1.1  # "within 10 %"
AT_MOST_US = 1_000  # a twentieth of the processor time of an order in all processes
COLUMNS = {"few": "ms", "many": "ms", "with": "µs", "without": "µs", "wal": "bytes"}

# In the order of the feed. `refund.failed` is rare, and nothing was cancelled.
FILL = """
INSERT INTO events (id, xid, position, client, order_ledger_id, sequence, type, at, status, refunded_cents, refund_id)
SELECT 'evt_' || lpad('3', 11, '0') || lpad(to_hex(number), 13, '0'), '3', number, client, id, sequence, type, at,
  CASE sequence WHEN 1 THEN CASE WHEN type = 'order.authorized' THEN 'AUTHORIZED' ELSE status END ELSE status END,
  refunded_cents, CASE WHEN type LIKE 'refund.%%' THEN md5('refund' || id)::uuid END
FROM (
  SELECT l.*, sequence, row_number() OVER (ORDER BY created_at, id, sequence) AS number,
    created_at + sequence * interval '1 ms' AS at, CASE
      WHEN status = 'AUTHORIZATION_FAILED' THEN 'order.authorization_failed'
      WHEN sequence = 1 THEN 'order.authorized' WHEN status = 'FAILED' THEN 'order.failed'
      WHEN sequence = 2 THEN 'order.completed' WHEN hashtext(client_request_id) %% 53 = 5 THEN 'refund.failed'
      ELSE 'refund.succeeded' END AS type
  FROM order_ledger AS l, generate_series(1, CASE status WHEN 'COMPLETED' THEN 3 WHEN 'FAILED' THEN 2 ELSE 1 END)
    AS sequence
) AS told ORDER BY number
"""
SOME = """
SELECT id, order_ledger_id::text FROM events WHERE client = 'bench'
  AND position IN (SELECT floor(random() * (SELECT max(position) FROM events WHERE xid = '3'))::bigint
    FROM generate_series(1, %s))
"""
NEWEST = "SELECT id FROM events WHERE client = 'bench' ORDER BY id DESC LIMIT 1"
# Name → the question, given an event of the client and its newest one.
QUESTIONS: dict[str, Callable[[dict[str, str]], dict[str, str]]] = {
    "the oldest": lambda _: {},
    "after an event": lambda event: {"after": event["id"]},
    "after the newest": lambda event: {"after": event["newest"]},
    "type=order.completed, after an event": lambda event: {"type": "order.completed", "after": event["id"]},
    "type=refund.failed": lambda _: {"type": "refund.failed"},
    "type=order.cancelled": lambda _: {"type": "order.cancelled"},
    "order_ledger_id": lambda event: {"order_ledger_id": event["order_ledger_id"]},
}
WALK = (
    "INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents,"
    " currency, request_id, status, due_at) VALUES (%(id)s, 'bench', %(id)s, 'f', %(id)s, %(id)s, 999, 'USD', 'r',"
    " 'AWAITING_AUTHORIZATION', now())",
    "UPDATE order_ledger SET status = 'AUTHORIZED', payment_authorization_id = 'a' WHERE id = %(id)s",
    "UPDATE order_ledger SET status = 'ORDER_CREATED', order_id = id WHERE id = %(id)s",
    "UPDATE order_ledger SET status = 'INVENTORY_RESERVED' WHERE id = %(id)s",
    "UPDATE order_ledger SET status = 'PAYMENT_CAPTURED' WHERE id = %(id)s",
    "UPDATE order_ledger SET status = 'COMPLETED', due_at = NULL WHERE id = %(id)s",
)
GUARD = "SELECT pg_get_functiondef('order_ledger_guard'::regproc)"
CALLS = "IF NEW.status IN ('AUTHORIZED', 'AUTHORIZATION_FAILED', 'COMPLETED', 'FAILED') THEN"
AN_ORDER = "an order, in the database"
NOTES = (
    "few, many: the slowest in twenty of GET /events through the Edge API, among 3,000 and 3,000,000 events.",
    "with, without: the six statements of an order in the ledger, each in its own transaction, among 1,050,000 orders:"
    " the processor time of the database. wal: what the events add to the log that is written ahead. No commit waits"
    " for the disk.",
    "Each database was analyzed after it was filled.",
)


@dataclass(frozen=True, eq=False)
class Place:
    url: str
    system: System

    def pages(self, name: str, times: int) -> tuple[str, list[str]]:
        """The address of the Edge API, and the path of each page."""
        newest = query(self.url, NEWEST)[0][0]
        some: list[tuple[str, str]] = []
        while len(some) < times:
            some += query(self.url, SOME, 5 * times)
        events = [{"id": id_, "order_ledger_id": order, "newest": newest} for id_, order in some[:times]]
        paths = [f"/events?{urlencode({'limit': LIMIT, **QUESTIONS[name](event)})}" for event in events]
        return self.system.url("web"), paths


def run(bench: Bench) -> Part:
    figures = Figures()
    with ExitStack() as stack:
        few, many = (stack.enter_context(_place(bench, size)) for size in (SHORT_SIZES if bench.short else SIZES))
        for number in range(bench.rounds):
            bench.say(f"events: round {number + 1} of {bench.rounds}")
            for name in QUESTIONS:
                _add_pages(figures, name, few, many, SHORT_PAGES if bench.short else PAGES)
            figures.add(AN_ORDER, **_price(many.url, SHORT_WALKS if bench.short else WALKS))
    return Part("events", "Events: GET /events, and their price", COLUMNS, figures.rows(), _ratios(figures), NOTES)


def _add_pages(figures: Figures, name: str, few: Place, many: Place, times: int) -> None:
    few_ms, many_ms = get_in_turn(few.pages(name, times), many.pages(name, times))
    figures.add(name, few=percentile(few_ms, 95), many=percentile(many_ms, 95))


@contextmanager
def _place(bench: Bench, orders: int) -> Iterator[Place]:
    url = bench.database_url()
    bench.say(f"events: filling a database with the events of {orders:,} orders")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(lists.FILL, {"orders": orders})
        cursor.execute(FILL, {})
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute(lists.QUIET)
        cursor.execute("CHECKPOINT")
    folder = Path(tempfile.mkdtemp(prefix="events-", dir=bench.folder))
    with System(url, folder, ONE_WORKER) as system:
        system.start(*ALL)
        yield Place(url, system)


def _price(url: str, walks: int) -> dict[str, float]:
    """Microseconds of an order with and without its events, and the bytes that they add to the log."""
    guard = query(url, GUARD)[0][0]
    assert CALLS in guard
    guards = {"with": guard, "without": guard.replace(CALLS, "IF false THEN")}
    took: dict[str, list[float]] = {"with": [], "without": []}
    written: dict[str, list[float]] = {"with": [], "without": []}
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for _ in range(TURNS):
            for side, text in guards.items():
                cursor.execute(text)
                cursor.execute("CHECKPOINT")
                before = _log_position(cursor)
                took[side].append(_walk(connection, walks))
                written[side].append((_log_position(cursor) - before) / walks)
        cursor.execute(guard)
    return {side: median(values) for side, values in took.items()} | {
        "wal": max(0.0, median(written["with"]) - median(written["without"]))
    }


def _walk(connection: Any, walks: int) -> float:
    """The microseconds of the database's processor for each of so many orders."""
    before = _cpu_ns(connection)
    with connection.cursor() as cursor:
        for _ in range(walks):
            id_ = new_order_ledger_id()
            for statement in WALK:
                cursor.execute(statement, {"id": id_})
    return (_cpu_ns(connection) - before) / walks / 1_000


def _cpu_ns(connection: Any) -> int:
    """The processor time of the process that serves this connection."""
    return int(Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text(encoding="ascii").split()[0])


def _log_position(cursor: Any) -> float:
    cursor.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::float")
    return float(cursor.fetchone()[0])


def _ratios(figures: Figures) -> Sequence[Ratio]:
    ratios = [at_most(f"{name}: many / few", _times(figures, name), FLAT, "×") for name in QUESTIONS]
    sides = zip(figures.of(AN_ORDER, "with"), figures.of(AN_ORDER, "without"), strict=True)
    return [*ratios, at_most("an order: with − without events", [a - b for a, b in sides], AT_MOST_US, "µs")]


def _times(figures: Figures, name: str, over: str = "many", under: str = "few") -> list[float]:
    pairs = zip(figures.of(name, over), figures.of(name, under), strict=True)
    return [above / below for above, below in pairs]
