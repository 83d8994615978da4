"""`holdfast ops endpoints` on the whole system."""

from __future__ import annotations

import json

from tests.audit.small_world import SmallWorld
from tests.holdfast_client.cli.conftest import Command

ENDPOINTS = """
INSERT INTO webhook_endpoints (id, client, url, event_types, cursor_xid, cursor_position, status, disabled_at,
  disabled_reason)
VALUES ('we_good', 'shop', 'https://good.example/hook', '{*}', '1', 0, 'enabled', NULL, NULL),
  ('we_bad', 'shop', 'https://bad.example/hook', '{*}', '1', 0, 'disabled', now(), 'gone')
"""


def test_endpoints_that_do_not_work_are_listed(ops: Command, world: SmallWorld) -> None:
    assert ops("endpoints", role="viewer").stderr == "All webhook endpoints work.\n"
    assert ops("endpoints", "--all").stderr == "No client has a webhook endpoint.\n"
    world.sql(ENDPOINTS)
    told = ops("endpoints", role="viewer")
    assert told.exit_code == 0, told.output
    assert "disabled" in told.stdout
    assert ("bad.example" in told.stdout, "good.example" in told.stdout) == (True, False)
    found = json.loads(ops("endpoints", "--all", "-o", "json").stdout)
    assert {each["url"] for each in found} == {"https://bad.example/hook", "https://good.example/hook"}
