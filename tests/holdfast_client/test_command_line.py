"""The command `holdfast`: what it asks, what it prints, and how it ends. test_example_shop.py runs it for real."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import responses
from click.testing import CliRunner, Result

from holdfast_client.cli.commands import holdfast
from holdfast_client.cli.output import money
from tests.holdfast_client.test_client_events import event
from tests.holdfast_client.test_holdfast_client import EDGE, ID, PRODUCT

ORDER: dict[str, Any] = {
    "order_ledger_id": ID,
    "client_request_id": "key-1",
    "status": "COMPLETED",
    "user_id": "5f0c1e0a-52cf-4f0a-9c0e-0f6d3b1c7a11",
    "email": "ada@shop.example",
    "total_amount_cents": 2500,
    "currency": "USD",
    "items": [{"product_id": PRODUCT, "quantity": 2, "unit_price_cents": 1250}],
    "timeline": [{"status": "COMPLETED", "at": "2026-11-22T10:00:00.000001Z", "detail": None}],
    "failure": None,
    "payment_authorization_id": None,
    "order_id": None,
    "retry_count": 0,
    "next_retry_at": None,
    "needs_attention_at": None,
    "created_at": "2026-11-22T10:00:00.000001Z",
    "updated_at": "2026-11-22T10:00:00.000001Z",
    "reference": "2026-1742",
    "metadata": {"channel": "web"},
    "refunded_cents": 0,
    "refund_status": "none",
    "cancellation": None,
}
FAILED = ORDER | {"status": "FAILED", "failure": {"code": "insufficient_stock", "message": "Sold out."}}
PLACED = {
    "order_ledger_id": ID,
    "status": "AUTHORIZED",
    "total_amount_cents": 2500,
    "currency": "USD",
    "message": "Ok.",
}
Command = Callable[..., Result]


@pytest.fixture
def fake() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder and the home of the user, with no settings in the environment."""
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Command:
    def run(*words: str, **options: Any) -> Result:
        return CliRunner().invoke(holdfast, ["--retry-for", "0", *words], **options)

    return run


@pytest.fixture
def asks(run: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`run`, with an address and a key."""
    monkeypatch.setenv("HOLDFAST_URL", EDGE)
    monkeypatch.setenv("HOLDFAST_API_KEY", "hf_id_secret")
    return run


def refuse(fake: responses.RequestsMock, method: str, path: str, status: int, code: str, **more: Any) -> None:
    body = {"error": code, "message": "It is refused.", "request_id": "r-1", **more}
    fake.add(method, f"{EDGE}{path}", json=body, status=status)


# Output


def test_json_is_what_the_api_answers(fake: responses.RequestsMock, asks: Command) -> None:
    fake.get(f"{EDGE}/orders/{ID}", json=ORDER)
    assert json.loads(asks("orders", "show", ID, "-o", "json").stdout) == ORDER


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        (("orders", "list"), "/orders", {"orders": [], "next_cursor": None}),
        (("products", "list"), "/products", {"products": [], "next_cursor": None}),
        (("events", "list"), "/events", {"events": [], "next_after": None}),
        (("endpoints", "list"), "/webhook_endpoints", {"webhook_endpoints": []}),
        (("endpoints", "deliveries", "e"), "/webhook_endpoints/e/deliveries", {"deliveries": [], "next_cursor": None}),
    ],
)  # fmt: skip
def test_empty_list_is_an_empty_array(
    fake: responses.RequestsMock, asks: Command, words: tuple[str, ...], path: str, body: dict[str, Any]
) -> None:
    fake.get(f"{EDGE}{path}", json=body)
    told = {output: asks(*words, "-o", output) for output in ("json", "jsonl", "table")}
    assert json.loads(told["json"].stdout) == []
    assert [told["jsonl"].stdout, told["table"].stdout] == ["", ""]
    assert told["table"].stderr == "None found.\n"
    assert {result.exit_code for result in told.values()} == {0}


def test_list_says_that_there_is_more(fake: responses.RequestsMock, asks: Command) -> None:
    fake.get(f"{EDGE}/orders", json={"orders": [ORDER] * 3, "next_cursor": None})
    told = asks("orders", "list", "--limit", "2", "-o", "json")
    assert len(json.loads(told.stdout)) == 2
    assert "timeline" not in json.loads(told.stdout)[0]
    assert "more than these 2" in told.stderr


def test_list_that_breaks_off_prints_no_json(fake: responses.RequestsMock, asks: Command) -> None:
    fake.get(f"{EDGE}/orders", json={"orders": [ORDER], "next_cursor": "c"})
    fake.get(f"{EDGE}/orders", body=requests.ConnectionError())
    told = asks("orders", "list", "--all", "-o", "json")
    assert (told.exit_code, told.stdout) == (3, "")


def test_table_shows_money_and_no_control_characters(fake: responses.RequestsMock, asks: Command) -> None:
    evil = ORDER | {"reference": "\x1b[2J1742"}
    fake.get(f"{EDGE}/orders", json={"orders": [evil], "next_cursor": None})
    told = asks("orders", "list").stdout
    assert "25.00 USD" in told
    assert "\x1b" not in told
    assert told.splitlines()[0].split() == [
        "ORDER_LEDGER_ID", "STATUS", "TOTAL", "REFERENCE", "EMAIL", "CREATED_AT",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cents", "currency", "text"),
    [
        (1250, "USD", "12.50 USD"),
        (5, "EUR", "0.05 EUR"),
        (1250, "JPY", "1250 JPY"),
        (1250, "KWD", "1.250 KWD"),
        (-5, "USD", "-0.05 USD"),
    ],
)
def test_money_has_the_decimals_of_its_currency(cents: int, currency: str, text: str) -> None:
    assert money(cents, currency) == text


def test_events_have_the_form_of_the_api(fake: responses.RequestsMock, asks: Command) -> None:
    sent = [event(1), event(2, refund_id=PRODUCT)]
    fake.get(f"{EDGE}/events", json={"events": sent, "next_after": None})
    assert json.loads(asks("events", "list", "--limit", "2", "--order", ID, "-o", "json").stdout) == sent


# Orders


def test_order_is_placed_as_asked(fake: responses.RequestsMock, asks: Command) -> None:
    fake.post(f"{EDGE}/orders", json=PLACED, status=202)
    told = asks(
        "orders", "place", "--item", f"{PRODUCT}:2", "--item", ID, "--email", "a@b.example", "--reference", "R",
        "--metadata", "a=b=c", "--idempotency-key", "cart-1", "-o", "json",
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["order_ledger_id"] == ID
    assert told.stderr == "Placed, with the idempotency key cart-1\n"
    sent = json.loads(fake.calls[0].request.body)
    assert fake.calls[0].request.headers["Idempotency-Key"] == "cart-1"
    assert fake.calls[0].request.headers["Authorization"] == "Bearer hf_id_secret"
    assert sent["items"] == [{"product_id": PRODUCT, "quantity": 2}, {"product_id": ID, "quantity": 1}]
    assert (sent["reference"], sent["metadata"]) == ("R", {"a": "b=c"})


@pytest.mark.parametrize(("ended", "code"), [(ORDER, 0), (FAILED, 1)])
def test_watch_ends_as_the_order_does(
    fake: responses.RequestsMock, asks: Command, ended: dict[str, Any], code: int
) -> None:
    fake.get(f"{EDGE}/orders/{ID}", json=ended)
    for output, rows in (("json", 1), ("jsonl", 1), ("table", 0)):
        told = asks("orders", "watch", ID, "-o", output)
        assert told.exit_code == code
        assert not rows or json.loads(told.stdout)
    assert ("Sold out." in told.stderr) == (code == 1)


def test_watch_of_an_order_in_progress_ends_with_1(fake: responses.RequestsMock, asks: Command) -> None:
    fake.get(f"{EDGE}/orders/{ID}", json=ORDER | {"status": "AUTHORIZED"})
    told = asks("orders", "watch", ID, "--timeout", "0")
    assert told.exit_code == 1
    assert "still AUTHORIZED" in told.stderr


@pytest.mark.parametrize(("status", "code"), [("done", 0), ("refused", 1)])
def test_cancel_that_is_waited_for_ends_as_it_does(
    fake: responses.RequestsMock, asks: Command, status: str, code: int
) -> None:
    asked = {"requested_at": "2026-11-22T10:00:00.000001Z", "reason": "duplicate", "status": "pending"}
    fake.post(f"{EDGE}/orders/{ID}/cancel", json=ORDER | {"status": "AUTHORIZED", "cancellation": asked}, status=202)
    fake.get(f"{EDGE}/orders/{ID}", json=ORDER | {"cancellation": asked | {"status": status}})
    told = asks("orders", "cancel", ID, "--reason", "duplicate", "--wait")
    assert told.exit_code == code
    assert json.loads(fake.calls[0].request.body) == {"reason": "duplicate"}


# Products


def test_stock_can_be_taken_away(fake: responses.RequestsMock, asks: Command) -> None:
    changed = {"product_id": PRODUCT, "previous_quantity": 9, "added_quantity": -5, "new_quantity": 4}
    changed |= {"adjustment_id": ID, "created_at": "2026-11-22T10:00:00.000001Z"}
    fake.post(f"{EDGE}/products/{PRODUCT}/stock", json=changed)
    assert asks("products", "stock", PRODUCT, "-5", "-o", "json").exit_code == 0
    assert json.loads(fake.calls[0].request.body) == {"quantity": -5, "reason": "correction"}


# Errors and exit codes


def test_refusal_says_what_happened_and_what_to_do(fake: responses.RequestsMock, asks: Command) -> None:
    refuse(fake, "GET", f"/orders/{ID}", 404, "not_found", details={"order_ledger_id": [ID]})
    told = asks("orders", "show", ID, "-o", "json")
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr.splitlines() == [
        "Error: It is refused. (not_found, request id r-1)",
        f"  order_ledger_id: {ID}",
        "Check the id, and that the API key belongs to the client that made it.",
    ]


def test_silence_ends_with_3_and_tells_the_key(fake: responses.RequestsMock, asks: Command) -> None:
    fake.post(f"{EDGE}/orders", body=requests.ConnectionError())
    told = asks("orders", "place", "--item", PRODUCT, "--email", "a@b.example", "--idempotency-key", "cart-1")
    assert told.exit_code == 3
    assert f"No answer from {EDGE}. It is unknown whether this was done." in told.stderr
    assert "--idempotency-key cart-1" in told.stderr


def test_busy_server_ends_with_3(fake: responses.RequestsMock, asks: Command) -> None:
    refuse(fake, "GET", "/products/x", 503, "busy")
    assert asks("products", "show", "x").exit_code == 3


def test_another_server_ends_with_3(fake: responses.RequestsMock, asks: Command) -> None:
    fake.get(f"{EDGE}/products/x", body="<h1>Hello</h1>", status=404)
    told = asks("products", "show", "x")
    assert told.exit_code == 3
    assert "is not the address of an Edge API" in told.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("orders", "lst"),
        ("orders", "list", "--since", "yesterday"),
        ("orders", "list", "--since", "2026-01-31T12:00:00"),
        ("orders", "place", "--item", "p:two", "--email", "a@b.example"),
        ("orders", "place", "--item", "p", "--email", "a@b.example", "--metadata", "x"),
        ("products", "change", "p"),
        ("events", "tail", "-o", "json"),
        ("webhooks", "listen", "--forward-to", "localhost:5000"),
        ("webhooks", "listen", "--forward-to", "http://h", "--secret", "whsec_c2hvcnQ="),
        ("webhooks", "trigger", "order.lost"),
        ("endpoints", "resend", "we_1"),
        ("--profile", "live", "--url", "http://h", "orders", "list"),
    ],
)
def test_wrong_use_ends_with_2_and_asks_nothing(asks: Command, words: tuple[str, ...]) -> None:
    told = asks(*words)
    assert (told.exit_code, told.stdout) == (2, ""), told.output


def test_help_tells_the_exit_codes(run: Command) -> None:
    assert re.search("3  Holdfast cannot be reached", run("--help").stdout)


# The address and the key


def test_key_of_make_run_is_found_in_its_folder(fake: responses.RequestsMock, run: Command, folder: Path) -> None:
    (folder / "var").mkdir()
    (folder / "var" / "credentials.env").write_text(f"# Made\nHOLDFAST_URL={EDGE}\nHOLDFAST_API_KEY='hf_run_secret'\n")
    fake.get(f"{EDGE}/products", json={"products": [], "next_cursor": None})
    assert run("products", "list").exit_code == 0
    assert fake.calls[0].request.headers["Authorization"] == "Bearer hf_run_secret"


def test_environment_wins_over_the_file_and_is_not_mixed_with_it(
    fake: responses.RequestsMock, run: Command, folder: Path
) -> None:
    (folder / "var").mkdir()
    (folder / "var" / "credentials.env").write_text("HOLDFAST_URL=http://elsewhere\nHOLDFAST_API_KEY=hf_run_secret\n")
    fake.get("http://127.0.0.1:8000/products", json={"products": [], "next_cursor": None})
    assert run("products", "list", env={"HOLDFAST_API_KEY": "hf_env_secret"}).exit_code == 0
    assert fake.calls[0].request.headers["Authorization"] == "Bearer hf_env_secret"
    told = run("products", "list", env={"HOLDFAST_URL": EDGE})
    assert told.exit_code == 2
    assert "HOLDFAST_URL is given, but no API key" in told.stderr


def test_without_a_key_nothing_is_asked(run: Command) -> None:
    told = run("products", "list")
    assert told.exit_code == 2
    assert "Set HOLDFAST_API_KEY" in told.stderr


@pytest.mark.parametrize("url", ["ftp://h", "127.0.0.1:8000", "http://", "http://h:x"])
def test_address_that_is_none_is_refused(run: Command, url: str) -> None:
    told = run("--url", url, "--api-key", "hf_a_b", "products", "list")
    assert told.exit_code == 2
    assert "is not an address" in told.stderr


def test_profile_is_stored_for_its_owner_only(fake: responses.RequestsMock, run: Command, folder: Path) -> None:
    old = os.umask(0)
    try:
        assert run("profiles", "set", "live", input=f"{EDGE}/\nhf_live_secret%\n").exit_code == 0
    finally:
        os.umask(old)
    file = folder / "config" / "holdfast" / "profiles.ini"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    listed = run("profiles", "list", "-o", "json")
    assert json.loads(listed.stdout) == [{"name": "live", "url": EDGE, "api_key": "hf_live_…"}]

    fake.get(f"{EDGE}/products", json={"products": [], "next_cursor": None})
    assert run("--profile", "live", "products", "list", env={"HOLDFAST_API_KEY": "hf_other_secret"}).exit_code == 0
    assert fake.calls[0].request.headers["Authorization"] == "Bearer hf_live_secret%"

    file.chmod(0o640)
    told = run("--profile", "live", "products", "list")
    assert told.exit_code == 2
    assert "chmod 600" in told.stderr
    file.chmod(0o600)
    assert run("profiles", "remove", "live").exit_code == 0
    assert run("--profile", "live", "products", "list").exit_code == 2


def test_profile_default_is_used_last(fake: responses.RequestsMock, run: Command) -> None:
    assert run("profiles", "set", "--url", EDGE, "--api-key", "hf_my_secret").exit_code == 0
    fake.get(f"{EDGE}/products", json={"products": [], "next_cursor": None})
    assert run("products", "list").exit_code == 0
    assert fake.calls[0].request.headers["Authorization"] == "Bearer hf_my_secret"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_that_of_click(run: Command, shell: str) -> None:
    told = CliRunner().invoke(holdfast, prog_name="holdfast", env={"_HOLDFAST_COMPLETE": f"{shell}_source"})
    assert "_HOLDFAST_COMPLETE" in told.stdout
