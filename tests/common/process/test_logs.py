"""All log lines have one format, and none contains a secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from common.process import logs

log = logging.getLogger("a.module")


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level


@pytest.fixture
def line(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """What `line(log.info, "message")` writes, read as JSON."""

    def line(write: Callable[..., None], *arguments: Any, **extra: Any) -> Any:
        logs.configure("orders", "INFO", "json")
        write(*arguments, extra=extra)
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return line


def test_line_has_a_utc_time_and_its_extra_fields(line: Callable[..., Any]) -> None:
    written = line(log.info, "order %s begun", 7, order_ledger_id="abc")
    time = written.pop("time")
    assert time.endswith("Z")
    assert abs(datetime.fromisoformat(time) - datetime.now(UTC)) < timedelta(minutes=1)
    assert written == {
        "level": "INFO",
        "service": "orders",
        "logger": "a.module",
        "message": "order 7 begun",
        "order_ledger_id": "abc",
    }


def test_request_id_is_on_every_line_while_set(line: Callable[..., Any]) -> None:
    before = logs.request_id.set("req-1")
    try:
        assert line(log.info, "x")["request_id"] == "req-1"
    finally:
        logs.request_id.reset(before)


USUAL_IDS = (
    "req-1", "item_7", "half_hour", "4111111111111112", "order:4111111111111112", "1764417525123",
    "7b9d2c2e-1111-4222-8333-123456789abc",
)  # fmt: skip
SECRETS = (
    "tok_visa", "x_tok_visa", "pm_1Nv0FG", "4111111111111111", "4111-1111-1111-1111", "order:4111111111111111",
    "a@b.example", "hf_0_1", "req_hf_0_1", "hfo_0_1", "whsec_MfKQ", "sk_live_51H", "rk_test_51H", "id_eyJhbGci", "a b",
)  # fmt: skip


@pytest.mark.parametrize("text", USUAL_IDS)
def test_usual_request_id_is_taken(text: str) -> None:
    assert logs.may_be_request_id(text)


@pytest.mark.parametrize("text", SECRETS)
def test_secret_is_no_request_id(text: str) -> None:
    assert not logs.may_be_request_id(text)


def test_an_exception_is_one_field(line: Callable[..., Any]) -> None:
    try:
        raise KeyError("shelf")
    except KeyError:
        assert "KeyError: 'shelf'" in line(log.exception, "broken")["exception"]


def test_second_setup_does_not_duplicate_lines(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        logs.configure("orders", "INFO", "text")
    log.info("once")
    assert capsys.readouterr().out.count("once") == 1


def test_lines_below_the_level_are_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("orders", "WARNING", "json")
    log.info("quiet")
    assert capsys.readouterr().out == ""


def test_text_format_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("orders", "INFO", "text")
    log.warning("low stock", extra={"sku": "TEA"})
    assert capsys.readouterr().out.rstrip().endswith("WARNING low stock sku=TEA")


@pytest.mark.parametrize(
    ("message", "extra"),
    [
        ("sent token=tok_visa&user=1", {}),
        ('sent {"payment_token": "tok_visa", "user": 1}', {}),
        ("sent {'token': 'tok_visa'}", {}),
        ("sent", {"token": "tok_visa"}),
        ("sent", {"body": {"payment": {"method": "card", "token": "tok_visa"}}}),
        ("sent", {"bodies": [{"token": "tok_visa"}]}),
        ('sent; null value in column "x"\nDETAIL:  Failing row contains (1, tok_visa, null).', {}),
        ("sent to tok_visa.name+tag@shop.example, again", {}),
        ("sent to postgresql://holdfast:tok_visa@db/holdfast", {}),
        ("sent", {"to": ["tok_visa@shop.example"]}),
    ],
)
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_tokens_are_never_written(
    message: str, extra: dict[str, Any], log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("payments", "INFO", log_format)
    log.info(message, extra=extra)
    written = capsys.readouterr().out
    assert "sent" in written
    assert "tok_visa" not in written


FORGED = "\r\n00:00:00.000 ERROR   forged \x1b[2J\x7f\x85\x9b\u2028\u2029\v\f\x1c"


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("where", ["message", "extra", "nested", "request id", "exception", "cause"])
def test_line_cannot_be_forged(log_format: str, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("orders", "INFO", log_format)
    before = logs.request_id.set(FORGED if where == "request id" else "")
    try:
        cause = KeyError(FORGED) if where == "cause" else None
        raise ValueError(FORGED if where == "exception" else "x") from cause
    except ValueError:
        extra = {"path": FORGED} if where == "extra" else {"path": [FORGED]} if where == "nested" else {}
        message = FORGED if where == "message" else "broken"
        (log.exception if where in ("exception", "cause") else log.error)("got %s", message, extra=extra)
    finally:
        logs.request_id.reset(before)
    first, *further = capsys.readouterr().out.removesuffix("\n").splitlines()
    assert not any(control in "".join((first, *further)) for control in "\r\x1b\x7f\x85\x9b")
    if log_format == "json":
        assert further == []
        assert json.loads(first)["logger"] == "a.module"
    else:
        assert " ERROR   got " in first
        assert not [line for line in further if not line.startswith("  | ")]


@pytest.mark.parametrize(
    "text",
    [
        "sent Authorization: Bearer canary",
        "sent {'Authorization': 'Bearer canary'}",
        "sent hf_ab12_canary",
        "sent hf_canary",
        "sent (hfo_ab12_canary)",
        "sent whsec_canary",
        "sent eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJjYW5hcnkifQ.canary",
    ],
)
def test_credentials_are_never_written(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("payments", "INFO", "json")
    log.info(text, extra={"headers": text})
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("again", extra={"Authorization": "canary", "api_key": "canary"})
    written = capsys.readouterr().out
    assert "sent" in written
    assert "canary" not in written
