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
from typing import Any
from urllib.parse import quote, urlsplit

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
from tests.collector import Collector
from tests.faults.raw_http import send
from tests.faults.shared_stack import ALL, PATIENCE_S, SharedStack, new_key
from tests.system.stack import WEB_PROCESSES
from tests.waiting import eventually


def card_number() -> str:
    """Return a number of 16 digits with a check digit at its end (ISO/IEC 7812-1, "Luhn")."""
    digits = [4, *(byte % 10 for byte in os.urandom(14))]
    total = sum(digits[1::2]) + sum(sum(divmod(2 * each, 10)) for each in digits[::2])
    return "".join(map(str, digits)) + str(-total % 10)


SECRET = "canary" + os.urandom(4).hex()
TOKEN, DECLINED_TOKEN = f"tok_{SECRET}_token", f"tok_{SECRET}_decline_expired"
EMAIL = f"{SECRET}.mail@shop.example"
API_KEY, NO_API_KEY = (
    client_keys.as_text(client_keys.new_id(), (SECRET + letter * 43)[:43]) for letter in "kn"
)  # 43: the length of a secret
PASSWORD = f"{SECRET}password"
CARD = card_number()
CANARIES = {"a token": TOKEN, "a card number": CARD, "a key": API_KEY, "an e-mail address": EMAIL}
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
TRACED = {"POST /orders", "POST payments", "POST /payments/authorize", "saga sale", "capture_payment", "confirm_order"}


class Shop:
    """Sends requests that contain canaries, and keeps every answer."""

    def __init__(self, stack: SharedStack, environ: dict[str, str], collector: Collector) -> None:
        """:param environ: of the processes"""
        self.stack, self.environ, self.collector, self.answers = stack, environ, collector, list[str]()
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

    def document(self, service: str) -> Any:
        return requests.get(f"{self.stack.url(service)}/openapi.json", timeout=PATIENCE_S).json()

    def ask(self, service: str, method: str, path: str, body: Any = None, request_id: str = "") -> int:
        """Send a request to any service, with a credential that may. :returns: the status"""
        headers = credentials.headers_for(service) | {"Idempotency-Key": new_key()}
        headers |= {"X-Request-ID": request_id} if request_id else {}
        url = self.stack.url(service) + path
        return requests.request(method, url, json=body, headers=headers, timeout=PATIENCE_S).status_code

    def keep(self, answer: requests.Response) -> None:
        self.answers.append(f"{answer.status_code} {answer.headers} {answer.text}")


@pytest.fixture
def shop(stack: SharedStack) -> Iterator[Shop]:
    """The roles of the processes have a canary as their password, which the addresses contain."""
    usual = PasswordFile(Path(parse_dsn(stack.server.url)["passfile"])).passwords()
    for role in ROLES:
        stack.sql(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
    credentials.add_key_at(stack.server.url, key=API_KEY)
    with Collector() as collector:
        traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        environ = addresses(stack.server.url) | SETTINGS | traces
        stack.restart(*list(stack.processes), **environ)
        yield Shop(stack, environ, collector)
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
    eventually(lambda: {each.name for each in list(shop.collector.spans)} >= TRACED)
    assert any(each.has_failed for each in shop.collector.spans)
    written["traces"] = shop.collector.received.decode(errors="replace")
    written |= {f"answer {number}": answer for number, answer in enumerate(shop.answers)}
    assert {name: lines_with(SECRET, text) for name, text in written.items() if SECRET in text} == {}
    for name, text in written.items():
        assert credentials.TOKEN_KEY not in text, name
        assert SERVICE_TOKEN.search(text) is None, name
    assert tables_with(shop.stack, SECRET) == {"order_ledger"}, "only in the columns meant for it"
    shop.stack.sql(f"UPDATE order_ledger SET metadata = NULL, email = replace(email, '{EMAIL}', '')")
    assert tables_with(shop.stack, SECRET) == set()
    assert lines_with(SECRET, server_log(shop.stack)) == []


def test_no_path_parameter_is_logged_if_it_is_not_an_id(shop: Shop) -> None:
    """Whatever a client puts in the place of an id. The operation gets it, with a valid body."""
    asked = [
        shop.ask(service, method, path.replace(f"{{{name}}}", quote(canary, safe="")), body_of(service, method, path))
        for service in WEB_PROCESSES
        for path, operations in shop.document(service)["paths"].items()
        for name in re.findall(r"{(\w+)}", path)
        for method in operations
        for canary in CANARIES.values()
    ]
    assert len(asked) >= 40, "ten operations have an id"
    assert set(asked) <= {400, 404, 503}, "payments fail at times"
    assert asked.count(404) >= 20
    assert seen_in_logs(shop.stack, *CANARIES.values()) == {}


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
def test_no_request_id_is_logged_if_it_is_a_secret(shop: Shop, canary: str) -> None:
    """Neither by the service that gets it, nor by those that it calls, nor by the saga."""
    for service in WEB_PROCESSES:
        assert shop.ask(service, "GET", "/openapi.json", request_id=canary) == 200
        assert shop.ask(service, "GET", "/nowhere", request_id=canary) == 404
    body = shop.stack.order_body(shop.product)
    eventually(lambda: shop.ask("web", "POST", "/orders", body, request_id=canary) == 202, PATIENCE_S)
    shop.stack.sql(A_MINUTE_LATER)
    shop.stack.settle()
    assert seen_in_logs(shop.stack, canary) == {}


def body_of(service: str, method: str, path: str) -> dict[str, Any] | None:
    """A valid body for this operation of an OpenAPI document."""
    pattern = re.sub(r"{\w+}", "[^/]+", path)
    bodies = [
        call.body
        for call in CALLS.values()
        if (call.service, call.method) == (service, method.upper()) and re.fullmatch(pattern, call.path)
    ]
    return bodies[0] if bodies else None


def seen_in_logs(stack: SharedStack, *canaries: str) -> dict[str, list[str]]:
    """Process, or the database's server → the lines with a canary."""
    logs = {name: stack.log(name) for name in ALL} | {"postgres": server_log(stack)}
    found = {name: [line for each in canaries for line in lines_with(each, log)] for name, log in logs.items()}
    return {name: lines for name, lines in found.items() if lines}


def server_log(stack: SharedStack) -> str:
    """The log of the database's server, without the lines that `meet_an_unexpected_error` provokes.

    PostgreSQL repeats a text that it cannot convert. Our statements convert no e-mail address.
    """
    lines = stack.server.log.read_text(errors="replace").splitlines()
    return "\n".join(line for line in lines if not line.endswith(f'invalid input syntax for type inet: "{EMAIL}"'))


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
    environ = shop.environ
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
