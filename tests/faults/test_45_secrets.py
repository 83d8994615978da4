"""Row 45: secrets, tokens, e-mail in logs, errors, traces. Required: none, as canaries show.

A canary is a secret that appears nowhere else. The test sends it through the system in every way, and through every
kind of failure; then it searches everything that was logged or answered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from psycopg2.extensions import parse_dsn

from common.credentials import client_keys
from common.process.settings import SettingError, Settings
from common.schema.accounts import address_of
from common.schema.roles import RIGHTS, ROLES, role_of
from local.passwords import PasswordFile
from tests import credentials
from tests.bad_requests import changed
from tests.bad_values import CALLS
from tests.faults.raw_http import send
from tests.faults.shared_stack import ALL, PATIENCE_S, SharedStack, new_key
from tests.waiting import eventually

SECRET = "canary" + os.urandom(4).hex()
TOKEN, DECLINED_TOKEN = f"tok_{SECRET}_token", f"tok_{SECRET}_decline_expired"
EMAIL = f"{SECRET}.mail@shop.example"
API_KEY, NO_API_KEY = (
    client_keys.as_text(client_keys.new_id(), (SECRET + letter * 43)[:43]) for letter in "kn"
)  # 43: the length of a secret
PASSWORD = f"{SECRET}password"
METADATA = {f"{SECRET} name": f"{SECRET} value"}
SETTINGS = {
    "LOG_LEVEL": "DEBUG",
    "MOCK_FAILURE_RATE": "0.3",
    "SERVICE_TOKEN_KEYS": f"{SECRET.ljust(32, 't')},{credentials.TOKEN_KEY}",
}
SERVICE_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
UNKNOWN_CREDENTIALS = (
    f"Bearer {NO_API_KEY}",
    f"Bearer {SECRET}",
    f"Basic {SECRET}",
    SECRET,
    f"Bearer eyJhbGciOiJub25lIn0.{SECRET}.",
    f"Bearer hf_{SECRET}_{SECRET}",
)
# The clients of unanswered requests never return.
A_MINUTE_LATER = """
UPDATE order_ledger SET due_at = now(), claimed_until = CASE WHEN claimed_by IS NOT NULL THEN now() END
WHERE status = 'AWAITING_AUTHORIZATION'
"""
# The logs must show that these happened, or the test would prove nothing.
HAPPENED = (
    "answered gateway_error",
    "answered database_unavailable",
    "unexpected error",
    "violates check constraint",
    "invalid input syntax for type inet",
    "refused with 400: InvalidHeader",
    "crash point edge.after_authorize",
    "crash point saga.after_call",
    "POST /orders",
)


class Shop:
    """Sends requests that contain canaries, and keeps every answer."""

    def __init__(self, stack: SharedStack) -> None:
        self.stack, self.answers = stack, list[str]()
        self.product = stack.product()

    def order(self, key: str = "", token: str = TOKEN, api_key: str = API_KEY) -> int:
        """:returns: the status; 0 for no answer"""
        payment = {"method": "card", "token": token}
        try:
            answer = self.stack.post_order(
                key or new_key(), self.product, api_key=api_key, email=EMAIL, payment=payment, metadata=METADATA
            )
        except requests.ConnectionError:
            return 0
        self.keep(answer)
        return answer.status_code

    def order_until(self, status: int, **changes: str) -> None:
        key = new_key()
        eventually(lambda: self.order(key, **changes) == status, PATIENCE_S)

    def keep(self, answer: requests.Response) -> None:
        self.answers.append(f"{answer.status_code} {answer.headers} {answer.text}")


@pytest.fixture
def shop(stack: SharedStack) -> Iterator[Shop]:
    """The roles of the processes have a canary as their password, which the addresses contain."""
    usual = PasswordFile(Path(parse_dsn(stack.server.url)["passfile"])).passwords()
    for role in ROLES:
        stack.sql(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
    stack.restart(*list(stack.processes), **addresses(stack.server.url), **SETTINGS)
    credentials.add_key_at(stack.server.url, key=API_KEY)
    yield Shop(stack)
    for role in ROLES:
        stack.sql(f"ALTER ROLE {role} PASSWORD '{usual[role]}'")


def addresses(url: str) -> dict[str, str]:
    return {f"{name.upper()}_DATABASE_URL": address_of(url, role_of(name), PASSWORD) for name in RIGHTS}


def test_no_secret_appears_in_logs_or_errors(shop: Shop) -> None:
    buy(shop)
    send_what_is_refused(shop)
    meet_a_database_that_is_down(shop)
    meet_an_unexpected_error(shop)
    meet_crashes(shop)
    shop.stack.sql(A_MINUTE_LATER)
    shop.stack.settle()
    written = {name: shop.stack.log(name) for name in ALL}
    assert [word for word in HAPPENED if not any(word in log for log in written.values())] == []
    written |= {f"answer {number}": answer for number, answer in enumerate(shop.answers)}
    assert {name: lines_with(SECRET, text) for name, text in written.items() if SECRET in text} == {}
    for name, text in written.items():
        assert credentials.TOKEN_KEY not in text, name
        assert SERVICE_TOKEN.search(text) is None, name
    assert tables_with(shop.stack, SECRET) == {"order_ledger"}, "only in the columns meant for it"
    shop.stack.sql(f"UPDATE order_ledger SET metadata = NULL, email = replace(email, '{EMAIL}', '')")
    assert tables_with(shop.stack, SECRET) == set()
    server_log = shop.stack.server.log.read_text(errors="replace").replace(EMAIL, "")
    assert lines_with(SECRET, server_log) == []


def buy(shop: Shop) -> None:
    for _ in range(5):
        shop.order_until(202)
    shop.order_until(402, token=DECLINED_TOKEN)
    eventually(lambda: shop.order() == 503, PATIENCE_S)


def send_what_is_refused(shop: Shop) -> None:
    """Send each text too long, with a wrong type, in malformed JSON, and outside of bodies."""
    assert shop.order(api_key=NO_API_KEY) == 401
    key = {"Authorization": f"Bearer {API_KEY}"}
    for call in CALLS.values():
        url, other = shop.stack.url(call.service) + call.path, {"User-Agent": SECRET, "Cookie": f"a={SECRET}"}
        for credential in UNKNOWN_CREDENTIALS:
            headers = {"Authorization": credential, **other}
            shop.keep(requests.request(call.method, f"{url}?a={SECRET}", headers=headers, timeout=PATIENCE_S))
        if not call.body:
            continue
        headers = {"Idempotency-Key": new_key(), "Content-Type": "application/json"}
        headers |= key if call.service == "web" else credentials.headers_for(call.service)
        for field in call.bad:
            for value in (TOKEN * 600, [TOKEN], {"token": EMAIL}, f"{TOKEN}\n"):
                body = changed(call.body, field, value)
                shop.keep(requests.request(call.method, url, json=body, headers=headers, timeout=PATIENCE_S))
        for raw in (f'{{"payment_token": "{TOKEN}"', f'{{"email": {EMAIL}}}', f'"{TOKEN}\\ud800"', f'["{TOKEN}", NaN]'):
            shop.keep(requests.request(call.method, url, data=raw, headers=headers, timeout=PATIENCE_S))
    web, headers = shop.stack.url("web"), {**key, "Idempotency-Key": new_key(), "User-Agent": SECRET}
    for address in (f"/{EMAIL}", f"/orders/{TOKEN}", f"/orders/{new_key()}?wait={TOKEN}", f"/orders?token={TOKEN}"):
        shop.keep(requests.get(web + address, headers=headers, timeout=PATIENCE_S))
    for line in (f"Authorization: Bearer {API_KEY}\x00", f"X-A : {TOKEN}", TOKEN):
        request = f"GET /orders HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n".encode()
        shop.answers.append(str(send((urlsplit(web).hostname or "", urlsplit(web).port or 0), [request])))


def meet_a_database_that_is_down(shop: Shop) -> None:
    shop.stack.server.stop()
    assert shop.order() == 503
    shop.stack.server.start()
    shop.order_until(202)


def meet_an_unexpected_error(shop: Shop) -> None:
    """PostgreSQL's messages contain the refused row or value, and a part of the statement."""
    for condition in ("false", "email::inet IS NULL"):
        check = f"ADD CONSTRAINT none CHECK (CASE WHEN client_request_id = 'unexpected' THEN {condition} END)"
        with changed_table(shop, check, "DROP CONSTRAINT none"):
            assert shop.order("unexpected") == 500
    with changed_table(shop, "RENAME email TO mail", "RENAME mail TO email"):
        assert shop.order() == 503


@contextmanager
def changed_table(shop: Shop, change: str, undo: str) -> Iterator[None]:
    shop.stack.sql(f"ALTER TABLE order_ledger {change}")
    try:
        yield
    finally:
        shop.stack.sql(f"ALTER TABLE order_ledger {undo}")


def meet_crashes(shop: Shop) -> None:
    environ = addresses(shop.stack.server.url) | SETTINGS
    shop.stack.restart("web", CRASH_AT="edge.after_authorize", **environ)
    shop.order_until(202)
    shop.stack.end("orchestrator.1", "orchestrator.2")
    shop.stack.launch("orchestrator.1", CRASH_AT="saga.after_call", **environ)
    shop.order_until(202)
    eventually(lambda: shop.stack.processes["orchestrator.1"].poll() is not None, PATIENCE_S)
    del shop.stack.processes["orchestrator.1"]
    shop.stack.start("orchestrator.1", **environ)


def lines_with(text: str, log: str) -> list[str]:
    return [line[:500] for line in log.splitlines() if text in line]


def tables_with(stack: SharedStack, text: str) -> set[str]:
    tables = [name for (name,) in stack.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    return {name for name in tables if stack.count(f"{name} t WHERE t::text LIKE '%%{text}%%'")}


@pytest.mark.parametrize("address", ["{}/{}@db/x", "{}@{}@db/x", "u:{}%zz{}@db/x", "u:p@db:{}{}/x", "u:p@[{}{}"])
def test_unescaped_password_in_an_address_is_not_repeated(address: str) -> None:
    """libpq would report a part of the password as an unknown host or port."""
    with pytest.raises(SettingError, match=r"^DATABASE_URL must be ") as refused:
        Settings.load({"DATABASE_URL": f"postgresql://{address.format(f'u:{SECRET}', PASSWORD)}"})
    assert SECRET not in str(refused.value)
