"""The faults of the catalogue, made to the process that delivers. Numbers are those of docs/guarantees.md."""

from __future__ import annotations

import signal
import time
import uuid
from contextlib import closing
from urllib.parse import urlsplit

import psycopg2
import pytest

from common.database.database import Database
from common.schema import migrate
from common.schema.roles import role_of
from local import roles
from tests.faults.test_17_clock_off import SITECUSTOMIZE
from tests.pgbouncer import pgbouncer
from tests.severable import Severable
from tests.waiting import eventually
from tests.webhooks.conftest import World


@pytest.fixture
def way(url):
    way = Severable(url)
    yield way
    way.stop()


@pytest.fixture
def holder(url):
    """A session that can lock rows."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        yield cursor
        connection.rollback()


def through(way):
    return roles.address(way.url, "webhooks")


def all_succeeded(world, endpoint, count):
    return sum(row["status"] == "succeeded" for row in world.deliveries(endpoint)) == count


def test_killed_after_the_answer_and_before_it_is_saved(start, world, receiver, holder):
    """Rows 10 to 14: the delivery comes again, with the same id and the same content, and then the next one."""
    endpoint, order = world.endpoint(f"{receiver.url}/hang"), world.order()
    events = [world.event(order, 1), world.event(order, 2)]
    process = start()
    eventually(lambda: receiver.heard)
    holder.execute("SELECT FROM webhook_endpoints WHERE id = %s FOR UPDATE", (endpoint,))  # nothing can be saved
    receiver.go.set()
    eventually(lambda: receiver.answered)
    process.kill()
    process.wait()
    holder.connection.rollback()
    world.let_time_pass(endpoint)
    start()
    eventually(lambda: all_succeeded(world, endpoint, 2))
    assert [heard.id for heard in receiver.heard] == [events[0], *events]
    assert receiver.heard[0].body == receiver.heard[1].body


def test_paused_process_wakes_after_a_takeover(start, world, receiver):
    """Row 16: its outcome changes no row."""
    endpoint, order = world.endpoint(f"{receiver.url}/hang"), world.order()
    events = [world.event(order, 1), world.event(order, 2)]
    zombie = start()
    eventually(lambda: receiver.heard)
    zombie.send_signal(signal.SIGSTOP)
    receiver.answer = lambda _: 500  # for the zombie
    receiver.go.set()
    eventually(lambda: receiver.answered)
    receiver.answer = lambda _: 204
    world.let_time_pass(endpoint)
    start()
    eventually(lambda: all_succeeded(world, endpoint, 2))
    before = world.deliveries(endpoint)
    zombie.send_signal(signal.SIGCONT)
    third = world.event(order, 3)
    eventually(lambda: all_succeeded(world, endpoint, 3))
    assert world.deliveries(endpoint)[:2] == before
    assert [heard.id for heard in receiver.heard] == [events[0], *events, third]


@pytest.mark.parametrize(
    ("statement", "sent"), [("AS delivery SET claimed_by", 1), ("last_attempt_at = now()", 1), ("COMMIT", 1)],
    ids=["claim", "outcome", "commit of the outcome"],
)  # fmt: skip
def test_connection_is_lost_in_a_claim_or_an_outcome(start, world, receiver, way, statement, sent):
    """Rows 4 and 83: the claim is given back, and no lease is waited for. What was committed is not sent again."""
    endpoint, event = world.endpoint(f"{receiver.url}/hang"), world.event(world.order())
    is_claim = "claimed_by" in statement
    if is_claim:
        way.cut_after(statement)
    process = start(WEBHOOK_TIMEOUT_S="15", **through(way))
    eventually(lambda: receiver.heard)
    if not is_claim:
        way.cut_after(statement)
    receiver.go.set()
    eventually(lambda: way.was_cut and all_succeeded(world, endpoint, 1), 40)
    assert [heard.id for heard in receiver.heard] == [event] * sent
    assert process.poll() is None


def test_database_is_away_while_receivers_answer(start, world, receiver, way):
    """Rows 33, 49 and 83: the process waits for it, and goes on with the same deliveries."""
    endpoint, order = world.endpoint(f"{receiver.url}/hang"), world.order()
    events = [world.event(order, 1), world.event(order, 2)]
    process = start(WEBHOOK_TIMEOUT_S="15", **through(way))
    eventually(lambda: receiver.heard)
    way.stop()
    receiver.go.set()
    eventually(lambda: receiver.answered)
    way.start()
    eventually(lambda: all_succeeded(world, endpoint, 2), 40)  # its lease would have lasted for a minute
    assert [heard.id for heard in receiver.heard] == events
    assert process.poll() is None


def test_read_only_database(start, world, receiver, url):
    """Row 43: as a full disk, which PostgreSQL reports as an error of the server, too."""
    endpoint = world.endpoint(f"{receiver.url}/hook")
    world.event(world.order())
    setting = f"ALTER ROLE {role_of('webhooks')} {{}} default_transaction_read_only"
    world.database.all(f"{setting.format('SET')} = on")
    try:
        process = start()
        eventually(lambda: b"cannot make deliveries" in start.log.read_bytes())
        assert world.deliveries(endpoint) == []
    finally:
        world.database.all(setting.format("RESET"))
    eventually(lambda: all_succeeded(world, endpoint, 1))
    assert process.poll() is None


@pytest.mark.parametrize("off_s", [-3600, 3600])
def test_clock_of_the_host_is_an_hour_off(start, world, receiver, tmp_path, off_s):
    """Row 17: leases, retries and the signed time are the database's."""
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    endpoint, order = world.endpoint(f"{receiver.url}/hook"), world.order()
    events = [world.event(order, 1), world.event(order, 2)]
    receiver.answer = lambda _: 204 if len(receiver.heard) > 1 else 500
    start(PYTHONPATH=str(tmp_path), CLOCK_OFF_S=str(off_s))
    eventually(lambda: receiver.heard and world.deliveries(endpoint)[0]["attempts"])
    assert 0 < world.deliveries(endpoint)[0]["due_in_s"] <= 5.5
    world.let_retries_be_due(endpoint)
    eventually(lambda: all_succeeded(world, endpoint, 2))
    assert [heard.id for heard in receiver.heard] == [events[0], *events]
    assert all(abs(int(heard.headers["webhook-timestamp"]) - time.time()) < 600 for heard in receiver.heard)


def test_pooler_in_transaction_mode(start, world, receiver, url, tmp_path):
    """Row 63."""
    endpoint, order = world.endpoint(f"{receiver.url}/hook"), world.order()
    events = [world.event(order, number) for number in (1, 2, 3)]
    with pgbouncer(url, tmp_path / "pgbouncer") as pooled:
        process = start(**roles.address(pooled, "webhooks"))
        eventually(lambda: all_succeeded(world, endpoint, 3))
        process.terminate()
        assert process.wait(30) == 0
    assert [heard.id for heard in receiver.heard] == events


def test_database_that_is_not_migrated(start, receiver, postgres):
    """Row 75: the process says so and waits."""
    name = f"scratch_{uuid.uuid4().hex}"
    new_url = urlsplit(postgres.url)._replace(path=f"/{name}").geturl()
    with closing(psycopg2.connect(postgres.url)) as owner, owner.cursor() as cursor:
        owner.autocommit = True
        cursor.execute(f"CREATE DATABASE {name}")
        process = start(**roles.address(new_url, "webhooks"))
        eventually(lambda: "The database lacks migrations of this release" in start.log.read_text())
        migrate.upgrade(new_url)
        with closing(Database(new_url, name="test", size=2)) as database:
            world = World(database)
            endpoint = world.endpoint(f"{receiver.url}/hook")
            world.event(world.order())
            eventually(lambda: all_succeeded(world, endpoint, 1))
        process.terminate()
        assert process.wait(30) == 0
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_log_has_no_secret(start, world, receiver):
    """Row 45: neither the secret, nor the URL's path, nor what the receiver answers."""
    endpoint = world.endpoint(f"{receiver.url}/canary?token=canary")
    elsewhere = world.endpoint("http://nowhere.invalid/canary")
    receiver.answer, receiver.text = lambda _: 500, b"canary"
    world.event(world.order())
    process = start(LOG_LEVEL="DEBUG")
    eventually(lambda: all(world.deliveries(each) and world.deliveries(each)[0]["attempts"] for each in world.secrets))
    assert world.deliveries(endpoint)[0]["response_body"] == "canary"
    assert "nowhere.invalid" in world.deliveries(elsewhere)[0]["error"], "its owner is told"
    process.terminate()
    assert process.wait(30) == 0
    log = start.log.read_text()
    assert "a delivery failed and will be retried" in log
    for secret in ("canary", "whsec_", "ada@shop.example", *(each[10:30] for each in world.secrets.values())):
        assert secret not in log
