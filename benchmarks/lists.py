"""Part 9, lists: `GET /orders` with each filter among 1,000 and 1,000,000 orders, and what each index costs a `POST`.

A third of the orders belongs to the client that asks. A round visits both databases with each filter, request by
request in turn, so that changes of the machine's speed affect both. An index is dropped and made again several times,
for the same reason.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

import psycopg2

from benchmarks.bench import Bench
from benchmarks.figures import Figures, at_most
from benchmarks.growth import ONE_WORKER
from benchmarks.ledger import percentile, query
from benchmarks.load import get_in_turn
from benchmarks.processes import ALL, System
from benchmarks.result import Part, Ratio
from common.api.idempotency import StoredResponse
from common.database.database import Database
from edge_api.notifier import Notifier
from edge_api.store import Store

SIZES, SHORT_SIZES = (1_000, 1_000_000), (100, 1_000)
LISTS, SHORT_LISTS = 200, 20  # of each filter in a round
ENTRIES, SHORT_ENTRIES, TURNS = 500, 20, 4  # with and without an index, in each turn
LIMIT = 5  # the small database, too, has as many of each kind; where it has not, the filter says how many
FLAT = 1.1  # "within 10 %"
COLUMNS = {"few": "ms", "many": "ms", "time": "µs", "wal": "bytes"}

# One order a second for each of three clients. An ordinary user has ten orders, and guests share one user and one
# address. 1 in 19 failed, 1 in 29 was declined, and 1 in 23 was refunded, every second of these in full.
FILL = """
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, reference, total_amount_cents,
  currency, request_id, status, payment_authorization_id, compensating_from, undone, failure_code, refunded_cents,
  refund_reserved_cents, created_at, updated_at)
SELECT md5('order' || n)::uuid, (ARRAY['bench', 'app', 'till'])[1 + n %% 3], 'k' || n, repeat(md5('f' || n), 2),
  CASE WHEN is_guest THEN md5('guest') ELSE md5('user' || n / 30) END::uuid,
  CASE WHEN is_guest THEN 'guest' ELSE 'user' || n / 30 END || '@shop.example', 'r-' || n, 1000, 'USD', 'r' || n,
  ended, CASE WHEN ended <> 'AUTHORIZATION_FAILED' THEN 'auth_' || md5('auth' || n) END,
  CASE ended WHEN 'FAILED' THEN 'INVENTORY_RESERVED' END,
  CASE ended WHEN 'FAILED' THEN '{void_payment,release_inventory,cancel_order}'::text[] ELSE '{}' END,
  CASE WHEN ended <> 'COMPLETED' THEN 'failed' END,
  CASE WHEN ended = 'COMPLETED' AND n %% 23 = 7 THEN CASE WHEN n / 23 %% 2 = 1 THEN 1000 ELSE 500 END ELSE 0 END,
  CASE WHEN ended = 'COMPLETED' AND n %% 23 = 7 THEN 1000 ELSE 0 END,
  now() - (%(orders)s - n) * interval '1 s' / 3, now() - (%(orders)s - n) * interval '1 s' / 3
FROM (SELECT n, n %% 10 = 0 AS is_guest, CASE WHEN n %% 19 = 1 THEN 'FAILED'
    WHEN n %% 29 = 2 THEN 'AUTHORIZATION_FAILED' ELSE 'COMPLETED' END AS ended
  FROM generate_series(1, %(orders)s) AS n) AS orders
"""
FILL_ITEMS = "INSERT INTO order_ledger_items SELECT id, 1, md5('product')::uuid, 2, 500 FROM order_ledger"
SOME = """
SELECT id::text, client_request_id, reference, user_id::text, email,
  to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created
FROM (SELECT md5('order' || (1 + floor(random() * (%s / 3)))::bigint * 3)::uuid AS id
  FROM generate_series(1, %s)) AS picked
JOIN order_ledger USING (id)
"""
# Only what is measured writes to the log, and nothing waits for a disk.
QUIET = """
ALTER TABLE order_ledger SET (autovacuum_enabled = off);
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$;
"""
INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = 'order_ledger'::regclass AND indexrelid::regclass::text = ANY (%s)
"""
NAMES = (
    "ix_order_ledger_client_created_at_id",
    "ix_order_ledger_client_user_id_created_at_id",
    "ix_order_ledger_email",
    "ix_order_ledger_reference",
    "ix_order_ledger_failed",
    "ix_order_ledger_declined",
    "ix_order_ledger_refunded_as",
    "ix_order_ledger_request_id",
)
GUEST = "guest@shop.example"
# Name → the filters for one of the orders, which is given as a row of SOME.
FILTERS: dict[str, Any] = {
    "no filter": lambda _: {},
    "created_from, created_before": lambda order: {
        "created_before": order["created"],
        "created_from": "2020-01-01T00:00:00Z",
    },
    "client_request_id": lambda order: {"client_request_id": order["client_request_id"]},
    "reference": lambda order: {"reference": order["reference"]},
    "user_id": lambda order: {"user_id": order["user_id"]},
    "email": lambda order: {"email": order["email"]},
    "email of all guests": lambda _: {"email": GUEST},
    "status=COMPLETED": lambda _: {"status": "COMPLETED"},
    "status=FAILED": lambda _: {"status": "FAILED"},
    "status=FAILED,AUTHORIZED,COMPENSATING": lambda _: {"status": "FAILED,AUTHORIZED,COMPENSATING"},
    "refund_status=none": lambda _: {"refund_status": "none"},
    "refund_status=full": lambda _: {"refund_status": "full"},
    "status=FAILED, user_id": lambda order: {"status": "FAILED", "user_id": order["user_id"], "limit": 1},
    "status=FAILED, email of all guests": lambda _: {"status": "FAILED", "email": GUEST, "limit": 1},
    "email, refund_status=partial": lambda order: {
        "email": order["email"] if order["email"] != GUEST else "user7@shop.example",
        "refund_status": "partial",
    },
    "user_id, reference of another": lambda order: {"user_id": order["user_id"], "reference": "r-1"},
    "status=FAILED, refund_status=full": lambda _: {"status": "FAILED", "refund_status": "full"},
    "email of all guests, refund_status=partial": lambda _: {"email": GUEST, "refund_status": "partial"},
}
# Each of its filters fits thousands of orders, and none fits both. No index of a single filter can answer that at once.
WORST = "email of all guests, refund_status=partial"
NOTES = (
    "few, many: the slowest in twenty of GET /orders through the Edge API, among 1,000 and 1,000,000 orders.",
    "time, wal: what an index adds to the two transactions of a POST, among 1,000,000 orders: the median, and the"
    " bytes of the log that is written ahead. The orders have a reference, and differ in everything. No commit waits"
    " for the disk. Each measurement begins with a checkpoint: a page of an index is written completely when it is"
    " changed for the first time.",
    "Each database was analyzed after it was filled.",
)


@dataclass(frozen=True, eq=False)
class Place:
    orders: int
    url: str
    system: System

    def lists(self, name: str, times: int) -> tuple[str, list[str]]:
        """The address of the Edge API, and the path of each list."""
        names = ("id", "client_request_id", "reference", "user_id", "email", "created")
        some = [dict(zip(names, row, strict=True)) for row in query(self.url, SOME, self.orders, times)]
        paths = [f"/orders?{urlencode({'limit': LIMIT, **FILTERS[name](order)})}" for order in some]
        return self.system.url("web"), paths


def run(bench: Bench) -> Part:
    figures = Figures()
    with ExitStack() as stack:
        few, many = (stack.enter_context(_place(bench, size)) for size in (SHORT_SIZES if bench.short else SIZES))
        for number in range(bench.rounds):
            bench.say(f"lists: round {number + 1} of {bench.rounds}")
            for name in FILTERS:
                _add_lists(figures, name, few, many, SHORT_LISTS if bench.short else LISTS)
        for number in range(bench.rounds):  # afterwards, because it leaves thousands of open orders
            bench.say(f"indexes: round {number + 1} of {bench.rounds}")
            for name, definition in query(many.url, INDEXES, list(NAMES)):
                figures.add(name, **_price(many.url, name, definition, SHORT_ENTRIES if bench.short else ENTRIES))
    return Part("lists", "Lists: GET /orders with each filter", COLUMNS, figures.rows(), _ratios(figures), NOTES)


def _add_lists(figures: Figures, name: str, few: Place, many: Place, times: int) -> None:
    few_ms, many_ms = get_in_turn(few.lists(name, times), many.lists(name, times))
    figures.add(name, few=percentile(few_ms, 95), many=percentile(many_ms, 95))


@contextmanager
def _place(bench: Bench, orders: int) -> Iterator[Place]:
    url = bench.database_url()
    bench.say(f"lists: filling a database with {orders:,} orders")
    fill(url, orders)
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(QUIET)
        cursor.execute("CHECKPOINT")
    folder = Path(tempfile.mkdtemp(prefix="lists-", dir=bench.folder))
    with System(url, folder, ONE_WORKER) as system:
        system.start(*ALL)
        yield Place(orders, url, system)


def fill(url: str, orders: int) -> None:
    """Add orders of three clients that have ended."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(FILL, {"orders": orders})
        cursor.execute(FILL_ITEMS)
        cursor.execute("VACUUM (ANALYZE)")


def _price(url: str, name: str, definition: str, entries: int) -> dict[str, float]:
    """What an index adds to a POST: microseconds, and bytes of the write-ahead log."""
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for _ in range(TURNS):
            for has_index in (True, False):
                if not has_index:
                    cursor.execute(f"DROP INDEX {name}")
                cursor.execute("CHECKPOINT")
                found[has_index].append(_post(url, entries))
                if not has_index:
                    cursor.execute(definition)
    (time_with, wal_with), (time_without, wal_without) = (
        (median(times), median(wal)) for times, wal in (zip(*found[side], strict=True) for side in (True, False))
    )
    return {"time": max(0.0, time_with - time_without), "wal": max(0.0, wal_with - wal_without)}


def _post(url: str, entries: int) -> tuple[float, float]:
    """Run the two transactions of a POST. :returns: the median in microseconds, and bytes of the log for each"""
    took = []
    with closing(Database(url, name="bench", size=1)) as database:
        store = Store(database, 30, 60, Notifier(database, 1))
        _place_one(store, f"{time.monotonic_ns()}")  # prepares its statements
        before = _log_position(database)
        for number in range(entries):
            began = time.perf_counter()
            _place_one(store, f"{time.monotonic_ns()}-{number}")
            took.append((time.perf_counter() - began) * 1_000_000)
        written = _log_position(database) - before
        _end_all(database)
    return median(took), written / entries


def _place_one(store: Store, key: str) -> None:
    digest = f"{hash(key) % 2**64:016x}" * 2
    order: dict[str, Any] = {
        "user_id": digest,
        "email": f"{digest}@shop.example",
        "reference": f"r-{key}",
        "metadata": None,
    }
    order |= {"total": 1000, "currency": "USD", "request_id": key, "fingerprint": digest * 2}
    order |= {"product_ids": [digest], "quantities": [2], "prices": [500]}
    entry = store.insert_entry("bench", key, order)
    assert entry
    assert store.authorized(entry, f"auth_{digest}", StoredResponse.of(202, {}))


def _log_position(database: Database) -> float:
    (row,) = database.all("SELECT (pg_current_wal_insert_lsn() - '0/0')::float AS bytes")
    return float(row["bytes"])


def _end_all(database: Database) -> None:
    """Make the orders due at no time soon, so that they are not in the way of anything."""
    database.all("UPDATE order_ledger SET due_at = now() + interval '1 day' WHERE due_at < now()")


def _ratios(figures: Figures) -> Sequence[Ratio]:
    return [at_most(f"{name}: many / few", _times(figures, name), FLAT, "×") for name in FILTERS if name != WORST]


def _times(figures: Figures, name: str) -> list[float]:
    pairs = zip(figures.of(name, "many"), figures.of(name, "few"), strict=True)
    return [many / few for many, few in pairs]
