"""`python -m ops erase`: no personal data is left in any column, and books, audit and idempotency keep working."""

from __future__ import annotations

import pytest

from ops.__main__ import main
from ops.erasure import NO_ADDRESS, NOBODY
from tests.books import violations
from tests.ops.old_orders import place_all_kinds
from tests.other_session import other_session

USER, EMAIL = "7b9d2c2e-1111-4222-8333-123456789abc", "a@b.example"  # of every order in the small world
COLUMNS = """
SELECT table_name, string_agg(format('%%I::text', column_name), ', ') FROM information_schema.columns
WHERE table_schema = 'public' AND table_name IN (SELECT tablename FROM pg_tables WHERE schemaname = 'public')
GROUP BY table_name
"""

ATTEMPT = """
INSERT INTO attempts (order_ledger_id, step, attempt, began_at, took_ms, kind, message, request_id)
SELECT id, 'create_order', 1, now(), 8000, 'unanswered', %(message)s, 'r' FROM order_ledger
"""


@pytest.fixture
def erase(url, capsys):
    def run(*arguments, environ=None):
        code = main(["erase", *arguments], {"DATABASE_URL": url, **(environ or {})})
        captured = capsys.readouterr()
        assert USER not in captured.out + captured.err
        assert EMAIL not in (captured.out + captured.err).lower()
        return code, captured.out + captured.err

    return run


@pytest.fixture
def ended(world):
    place_all_kinds(world)
    return world


def where_found(world, *values):
    """The tables in which one of these values is found in any column."""
    found = set()
    for table, columns in world.sql(COLUMNS.replace("%%", "%")):
        for value in values:
            pattern = f"%{value}%"
            query = f"SELECT 1 FROM {table} WHERE concat_ws(' ', {columns}) ILIKE %(pattern)s LIMIT 1"
            found |= {table} if world.sql(query, pattern=pattern) else set()
    return found


@pytest.mark.parametrize("person", [("--user", USER), ("--email", EMAIL), ("--email", EMAIL.upper())])
def test_no_column_has_the_persons_data_any_more(ended, erase, url, person):
    ended.sql("UPDATE order_ledger_history SET detail = 'refused for a@b.example' WHERE id = 2")
    ended.sql("UPDATE payment_refunds SET reason = 'a wish of Wilhelmina'")
    ended.sql("UPDATE order_ledger SET failure_message = %(message)s", message=f"user {USER}")
    ended.sql("UPDATE events SET failure_message = 'refused for a@b.example'")
    ended.sql("""UPDATE order_ledger SET reference = '2026-1742', metadata = '{"gift for": "Wilhelmina"}'""")
    ended.sql(ATTEMPT, message=f"{'x' * 440} a@b.example {USER}")
    ended.sql("INSERT INTO set_aside_entries SELECT id, 'why a@b.example' FROM order_ledger")
    ended.sql(
        "INSERT INTO order_notes (order_ledger_id, author, text) SELECT id, 'ada', 'Wilhelmina' FROM order_ledger"
    )
    ended.sql("INSERT INTO dealt_with SELECT id, now(), 'ada', 'Wilhelmina called', 5 FROM order_ledger")
    ended.sql("INSERT INTO dealt_with SELECT id, now(), 'ada', 'a@b.example', 5 FROM refunds")
    assert where_found(ended, USER, EMAIL, "Wilhelmina") >= {
        "order_ledger",
        "orders",
        "payment_authorizations",
        "payment_refunds",
    }
    assert erase(*person, "--yes")[0] == 0
    assert where_found(ended, USER, EMAIL, "Wilhelmina") == set()
    assert ended.sql("SELECT DISTINCT user_id::text, email FROM order_ledger") == [(NOBODY, NO_ADDRESS)]
    assert ended.sql("SELECT count(*) FROM pending_erasures") == [(0,)]
    assert violations(url) == {}


def test_other_persons_keep_their_data(ended, erase, url):
    ended.sql("UPDATE order_ledger SET email = 'b@b.example' WHERE client_request_id = 'second'")
    assert erase("--email", EMAIL, "--yes")[0] == 0
    kept = "SELECT client_request_id, email, user_id::text FROM order_ledger WHERE email <> %(nobody)s"
    assert ended.sql(kept, nobody=NO_ADDRESS) == [("second", "b@b.example", USER)]
    assert ended.sql("SELECT count(*) FROM orders WHERE user_id = %(user)s", user=USER) == [(1,)]
    assert ended.sql("SELECT count(*) FROM payment_authorizations WHERE user_id = %(user)s", user=USER) == [(1,)]


def test_key_of_an_erased_order_is_replayed_and_refused_for_another_body(ended, erase):
    product = ended.sql("SELECT id::text FROM products ORDER BY created_at LIMIT 1")[0][0]
    first = ended.order(product, key="completed")
    ended.sql("""UPDATE order_ledger SET reference = '2026-1742', metadata = '{"a": "b"}'""")
    erase("--user", USER, "--yes")
    again = ended.order(product, key="completed")
    assert (again.status_code, again.json) == (202, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert ended.order(product, key="completed", quantity=3).status_code == 422
    shown = ended.edge.test_client().get(first.headers["Location"]).json
    assert (shown["status"], shown["user_id"], shown["email"]) == ("COMPLETED", NOBODY, NO_ADDRESS)
    assert (shown["reference"], shown["metadata"], shown["refund_status"]) == ("2026-1742", {}, "none")


def test_open_order_is_erased_when_it_has_ended(world, erase, url, capsys):
    world.order(world.product())
    code, out = erase("--user", USER, "--yes")
    assert code == 1
    assert "1 orders wait" in out
    assert where_found(world, USER) != set()
    world.work()
    assert where_found(world, USER) != set()
    assert main(["retain"], {"DATABASE_URL": url}) == 0
    assert where_found(world, USER, EMAIL) == set()
    assert violations(url) == {}


def test_rows_without_a_ledger_entry_are_erased(ended, erase):
    body = {"user_id": USER, "amount_cents": 9, "currency": "USD", "payment_token": "t", "idempotency_key": "direct"}
    assert ended.call(8300, "/payments/authorize", **body) == 200
    assert erase("--user", USER, "--yes")[0] == 0
    assert where_found(ended, USER) == set()


JOB = """
INSERT INTO bulk_jobs (author, key, fingerprint, action, filter, reason, rate_per_s, created_at)
VALUES ('ada', %(key)s, repeat('0', 64), 'cancel', jsonb_build_object(%(name)s, %(value)s::text, 'client', 'shop'),
  'other', 5, now() - %(hours)s * interval '1 h')
"""
JOBS = "SELECT state, stopped_by, filter FROM bulk_jobs ORDER BY created_at"


@pytest.mark.parametrize(
    ("person", "name", "value"),
    [(("--user", USER), "user_id", USER.upper()), (("--email", EMAIL), "email", EMAIL.title())],
)
def test_job_that_has_not_collected_the_persons_orders_ends(ended, erase, person, name, value):
    ended.sql(JOB, key="theirs", name=name, value=value, hours=1)
    ended.sql(JOB, key="another", name="email", value="b@b.example", hours=0)
    assert erase(*person, "--dry-run")[0] == 0
    assert {state for state, _, _ in ended.sql(JOBS)} == {"filling"}
    assert erase(*person, "--yes")[0] == 0
    assert ended.sql(JOBS) == [
        ("stopped", "ops erase", {name: "[not kept]", "client": "shop"}),
        ("filling", None, {"email": "b@b.example", "client": "shop"}),
    ]


def test_job_that_nobody_works_on_for_a_day_loses_whose_orders_it_looks_for(ended, url):
    for key, name, hours in (("old", "email", 25), ("of nobody", "reference", 25), ("new", "email", 23)):
        ended.sql(JOB, key=key, name=name, value="c@c.example", hours=hours)
    assert main(["retain"], {"DATABASE_URL": url}) == 0
    assert ended.sql("SELECT key, state FROM bulk_jobs ORDER BY key") == [
        ("new", "filling"), ("of nobody", "filling"), ("old", "stopped"),
    ]  # fmt: skip


def test_locked_order_waits_for_the_next_run(ended, erase, url):
    with other_session(url) as cursor:
        cursor.execute("SELECT 1 FROM order_ledger ORDER BY id LIMIT 1 FOR UPDATE")
        assert erase("--user", USER, "--yes")[0] == 1
        assert ended.sql("SELECT count(*) FROM pending_erasures") == [(1,)]
    assert erase("--user", USER, "--yes")[0] == 0
    assert where_found(ended, USER) == set()


def test_dry_run_changes_nothing(ended, erase):
    code, out = erase("--user", USER, "--dry-run")
    assert (code, out) == (
        0, "Nothing was changed. Found: 6 orders that have ended, 0 that are open, and 0 rows without an order.\n"
    )  # fmt: skip
    assert ended.sql("SELECT count(*) FROM order_ledger WHERE email = %(email)s", email=EMAIL) == [(6,)]
    assert ended.sql("SELECT count(*) FROM pending_erasures") == [(0,)]


def test_erasure_is_not_begun_without_a_yes(ended, erase):
    code, out = erase("--user", USER)
    assert (code, "--yes" in out) == (2, True)
    assert ended.sql("SELECT count(*) FROM pending_erasures") == [(0,)]


@pytest.mark.parametrize("person", [("--user", NOBODY), ("--email", NO_ADDRESS)])
def test_person_must_be_one(erase, person):
    assert erase(*person, "--yes")[0] == 2


def test_record_names_no_person(ended, erase):
    erase("--email", EMAIL, "--yes")
    ((details,),) = ended.sql("SELECT details FROM operator_log WHERE action = 'erase' ORDER BY at DESC LIMIT 1")
    assert details == {"by": ["email"], "ended": 6, "still_open": 0, "elsewhere": 0}
    assert where_found(ended, USER, EMAIL) == set()


def test_notes_of_refunds_are_erased_in_every_copy(world, erase, url):
    order = world.order(world.product()).json["order_ledger_id"]
    world.work()
    first = world.refund(order, key="k", amount_cents=5, note="Wilhelmina was not happy")
    world.sql("UPDATE refunds SET status_detail = 'refused for a@b.example'")
    world.work()
    assert where_found(world, "Wilhelmina") == {"refunds", "edge_idempotency_keys"}
    assert erase("--user", USER, "--yes")[0] == 0
    assert where_found(world, "Wilhelmina", USER, EMAIL) == set()
    again = world.refund(order, key="k", amount_cents=5, note="Wilhelmina was not happy")
    assert (first.status_code, again.status_code, again.json["error"]) == (202, 409, "request_expired")
    assert world.refund(order, key="k", amount_cents=6).status_code == 422
    assert world.sql("SELECT amount_cents, status FROM refunds") == [(5, "SUCCEEDED")]
    assert violations(url) == {}
