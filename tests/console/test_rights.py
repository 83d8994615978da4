"""The console's own role in the database suffices for every page, every search and every session."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from common.database.database import Database
from common.schema.accounts import address_of
from common.schema.roles import role_of
from console import operators, order_statements
from console.pages import all_pages
from tests.console.desk import Desk
from tests.console.shelves import add_product
from tests.database.statements import statements_of

SEARCHES = ("01890a5d-ac96-774b-bcce-b302099a8057", "auth_00000000", "cap_00000000", "re_00000000", "evt_00000000",
            "a@b.example", "r-1")  # fmt: skip


__all__ = ["add_product"]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """All statements that were run outside a transaction, as written in the code."""
    statements: set[str] = set()

    def note(method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(self: Database, sql: str, **params: Any) -> Any:
            statements.add(sql)
            return method(self, sql, **params)

        return noted

    for name in ("all", "one"):
        monkeypatch.setattr(Database, name, note(getattr(Database, name)))
    return statements


def test_role_suffices_for_everything(
    url: str, console_with: Callable[..., Flask], key: Callable[..., str], add_order: Callable[..., str], ran: set[str],
    sql: Callable[..., Any], add_product: Callable[..., str],
) -> None:  # fmt: skip
    app = console_with(DATABASE_URL=address_of(url, role_of("console")))
    admin, order = key("admin"), add_order(reference="r-1")
    desk = Desk(app, admin)
    sql("INSERT INTO bulk_jobs (author, key, fingerprint, action, filter, reason, rate_per_s)"
        " VALUES ('ada', 'k', repeat('0', 64), 'retry', '{}', 'why', 5)")  # fmt: skip
    sql("INSERT INTO webhook_endpoints (id, client, url, event_types, cursor_xid)"
        " VALUES ('we_1', 'shop', 'https://a.example', '{*}', '0')")  # fmt: skip
    ids = {"order_ledger_id": order, "webhook_endpoint_id": "we_1", "product_id": add_product()}
    ids["job_id"] = sql("SELECT id::text FROM bulk_jobs")[0]["id"]
    paths = [page.path for page in all_pages() if page.method == "GET" and page.role and page.name != "new_job"]
    paths.append("/jobs/new?client=shop")
    for path in paths:
        answer = desk.get(re.sub(r"<\w+:(\w+)>", lambda found: ids[found[1]], path))
        assert answer.status_code == 200 or path.endswith("refund-effect"), (path, answer.text)
    for text in SEARCHES:
        assert desk.get("/search", q=text).status_code in (200, 303), text
    for path in ("/api/orders", f"/api/orders/{order}", "/api/search?q=r-1"):
        answer = app.test_client().get(path, headers={"Authorization": f"Bearer {admin}"})
        assert answer.status_code == 200, answer.text
    sql("UPDATE operator_sessions SET notice = 'told'")
    assert "told" in desk.get("/").text
    assert desk.post("/sign-out").status_code == 303
    for module in (operators, order_statements):
        assert {name for name, text in statements_of(module).items() if text not in ran} == set()
