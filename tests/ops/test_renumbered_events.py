"""After a restore on another server, webhook endpoints go on where they were."""

from __future__ import annotations

from common.database.database import Database
from ops.checks.events import RENUMBER
from tests.webhooks.conftest import World
from webhooks.store import Store


def test_webhooks_go_on_after_the_events_were_renumbered(url: str) -> None:
    database = Database(url, name="test", size=2)
    world, store = World(database), Store(database, "me", 4, 60)
    endpoint, other = world.endpoint(), world.endpoint(client="till")
    delivered = world.event(world.order())
    store.fan_out()
    waiting = [world.event(world.order()), world.event(world.order())]
    world.event(world.order("till"), client="till")
    database.all("UPDATE events SET xid = (xid::text::bigint + 9000000000)::text::xid8")
    database.all("UPDATE webhook_endpoints SET cursor_xid = (cursor_xid::text::bigint + 9000000000)::text::xid8")
    assert store.fan_out() == 0
    for statement in RENUMBER.split("; "):
        database.all(statement)
    new = world.event(world.order())
    store.fan_out()
    assert {row["event_id"] for row in world.deliveries(endpoint)} == {delivered, *waiting, new}
    assert len(world.deliveries(other)) == 1
    database.close()
