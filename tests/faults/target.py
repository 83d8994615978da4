"""The shared system as the target of bad requests: sends them and checks that no table changed."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg2
import pytest
import requests

from tests import credentials
from tests.answers import Answer, Document
from tests.bad_requests import READER, BadRequest
from tests.bad_values import CAPTURED, HOLD, LEDGER, ORDER, PRODUCT
from tests.faults.shared_stack import ORCHESTRATORS, PATIENCE_S, SharedStack
from tests.system.stack import WEB_PROCESSES
from tests.waiting import eventually

SECRETS = {name: credentials.new_key() for name in ("alice", "bob", READER)}
PRICE_CENTS = 500


class Target:
    """Four services, one completed order, and one whose money is held; no orchestrator runs."""

    def __init__(self, stack: SharedStack) -> None:
        self.stack = stack
        self.documents = {
            name: Document(requests.get(f"{stack.url(name)}/openapi.json", timeout=PATIENCE_S).json())
            for name in WEB_PROCESSES
        }
        self._connections = {
            name: http.client.HTTPConnection(urlsplit(stack.url(name)).netloc, timeout=PATIENCE_S)
            for name in WEB_PROCESSES
        }
        self._accepted: set[str] = set()
        self._real_ids = self._place_orders()
        self._books = psycopg2.connect(stack.server.url)
        self._books.autocommit = True
        self._all_tables = " UNION ALL ".join(
            f"SELECT '{table}', md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t"
            for (table,) in stack.sql(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'client_keys'"
            )  # has the time of each key's last use
        )
        self._state = self.state()

    def _place_orders(self) -> dict[str, str]:
        """:returns: the catalogue's ids → the real ones"""
        self.product = self.stack.product(stock=100, price_cents=PRICE_CENTS)
        done = self.order("first").json()["order_ledger_id"]
        eventually(lambda: self.stack.by_status() == {"COMPLETED": 1}, PATIENCE_S)
        self.stack.end(*ORCHESTRATORS)
        held = self.order("second").json()["order_ledger_id"]
        columns = "SELECT payment_authorization_id, order_id::text FROM order_ledger WHERE id = %(id)s"
        ((captured, order),) = self.stack.sql(columns, id=done)
        ((hold, _),) = self.stack.sql(columns, id=held)
        return {PRODUCT: self.product, LEDGER: held, ORDER: order, HOLD: hold, CAPTURED: captured}

    def order(self, key: str, client: str = "alice", quantity: int = 1) -> requests.Response:
        """Post an order. One that is accepted must complete in the end."""
        answer = self.stack.post_order(key, self.product, quantity, api_key=SECRETS[client])
        if client == "alice":
            assert answer.status_code == 202, answer.text
        if answer.status_code == 202:
            self._accepted.add(str(answer.json()["order_ledger_id"]))
        return answer

    def real(self, text: str) -> str:
        for id_, real in self._real_ids.items():
            text = text.replace(id_, real)
        return text

    def send(self, request: BadRequest) -> Answer:
        """Send it unchanged over a kept-alive connection."""
        headers = dict(request.headers)
        headers |= credentials.headers_for(request.service)
        if request.service == "web":
            headers["Authorization"] = _authorization(request.credential)
        body = None if request.body is None else self.real(request.body.decode("latin-1")).encode("latin-1")
        connection = self._connections[request.service]
        connection.request(request.method, self.real(request.path), body=body, headers=headers)
        response = connection.getresponse()
        answer = Answer(
            response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        )
        if answer.status == 413:
            connection.close()  # the server may close it too, instead of reading on
        return answer

    def faults(self, request: BadRequest) -> list[str]:
        """Send it. :returns: a description of each thing that is wrong"""
        before, answer, after = self._state, self.send(request), self.state()
        faults = list(self.documents[request.service].faults(request.method, self.real(request.path), answer))
        if not faults and (answer.status, answer.json["error"]) != (request.status, request.code):
            faults.append(f"answered {answer.status} {answer.json['error']}")
        if not faults and request.faulty and request.faulty not in answer.json.get("details", {}):
            faults.append(f"does not name {request.faulty}: {answer.json.get('details')}")
        if after != before:
            faults.append(f"wrote to {sorted(table for table in after if after[table] != before[table])}")
        self._state = after
        return [f"{request.name}: {fault}" for fault in faults]

    def state(self) -> dict[str, str | None]:
        """Return each table with a checksum of its rows."""
        with self._books.cursor() as cursor:
            cursor.execute(self._all_tables)
            return dict(cursor.fetchall())

    def settle(self) -> None:
        """Let the open orders continue, and check that all complete."""
        for each in (self._books, *self._connections.values()):
            each.close()
        self.stack.start(*ORCHESTRATORS)
        self.stack.settle()
        assert self.stack.by_status() == {"COMPLETED": len(self._accepted)}


def _authorization(credential: str | None) -> str:
    return f"Bearer {SECRETS[credential or 'alice']}" if credential in (None, READER) else credential


@pytest.fixture(scope="module")
def target(shared_stack: SharedStack) -> Iterator[Target]:
    """The services, with a key of each client. After the tests, all orders must complete."""
    shared_stack.reset()
    for name, key in SECRETS.items():
        scopes = ["orders:read"] if name == READER else credentials.client_keys.SCOPES
        credentials.add_key_at(shared_stack.server.url, key=key, client=name, scopes=scopes)
    target = Target(shared_stack)
    yield target
    target.settle()
