"""Fault 73: an empty line before a request, a byte order mark, `charset=utf8`, a line break after a setting's value.

Required: they are accepted with their obvious meaning.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.process.settings import Settings
from tests.credentials import header_line
from tests.faults.raw_http import send
from tests.faults.shared_stack import SharedStack
from tests.system.stack import Stack

LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
BODY = json.dumps({"name": "Tea", "sku": "TEA-1", "price_cents": 300}).encode()


def create_product(body: bytes, media_type: bytes) -> bytes:
    head = b"POST /inventory/products HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    head = head.removesuffix(b"\r\n") + header_line("inventory_service").encode() + b"\r\n"
    return head % (media_type, len(body)) + body


def test_empty_line_before_the_request_line_is_skipped(stack: SharedStack) -> None:
    address = stack.address("inventory_service")
    assert send(address, [b"\r\n" + LIVE]).status == 200
    assert send(address, [b"\r\n", LIVE]).status == 200


@pytest.mark.parametrize(
    ("body", "media_type"),
    [(b"\xef\xbb\xbf" + BODY, b"application/json"), (BODY, b"application/json; charset=utf8")],
    ids=["byte order mark", "charset=utf8"],
)
def test_json_of_common_clients_is_accepted(stack: SharedStack, body: bytes, media_type: bytes) -> None:
    answer = send(stack.address("inventory_service"), [create_product(body, media_type)])
    assert (answer.status, answer.json.get("sku")) == (201, "TEA-1")


def test_line_break_after_a_setting_is_dropped(url: str, tmp_path: Path) -> None:
    settings = Settings.load({"DATABASE_URL": f"{url}\n", "PORT": "8001\r\n", "LOG_LEVEL": " INFO ", "APP_ENV": "\n"})
    assert (settings.database_url, settings.port) == (url, 8001)
    assert (settings.log_level, settings.app_env) == ("INFO", "development")
    with Stack(f"{url}\n", tmp_path, WEB_THREADS="2\n") as stack:
        stack.start("inventory_service")
