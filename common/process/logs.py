"""One log format for every process: a JSON object per line, or a compact line for a person."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

#: The request (or the saga) that this thread processes. It is on every line while it is set.
request_id: ContextVar[str] = ContextVar("request_id", default="")
#: The id of the trace of what this thread does, 32 hexadecimal digits. Empty: it is not traced.
trace_id: ContextVar[str] = ContextVar("trace_id", default="")
WELL_FORMED_REQUEST_ID = re.compile(r"[A-Za-z0-9._~:+/=-]{1,128}")

_as_json = json.JSONEncoder(default=str, ensure_ascii=False).encode  # json.dumps would create an encoder for each line
# The record attributes that logging sets itself; any other came through `extra=`.
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
_SECRET_NAME = re.compile(r"token|password|secret|authorization|api_?key|credential", re.IGNORECASE)
# `token=tok_visa`, `"payment_token": "tok_visa"`, `'token': 'tok_visa'` within a text.
_SECRET_IN_TEXT = re.compile(r"(\w*token[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&)}\]]+", re.IGNORECASE)
# `Bearer …`; a key of a client, an operator, a webhook endpoint or Stripe, and a service's token (a JWT) without it.
_CREDENTIAL_IN_TEXT = re.compile(
    r"(\bBearer\s+)[^\s\"',;)}\]]+"
    r"|((?<![A-Za-z0-9])(?:hfo?|whsec|[sr]k_live|[sr]k_test)_)\w[\w+/=-]*"
    r"|((?<![A-Za-z0-9])eyJ)[\w.-]+",
    re.IGNORECASE,
)
_EMAIL_IN_TEXT = re.compile(r"[^\s\"'<>(),;:=@]+@[^\s\"'<>(),;:=@]+")
_PAYMENT_TOKEN = re.compile(r"(?<![A-Za-z0-9])(?:tok|pm)_", re.IGNORECASE)
_PARTS_OF_AN_ID = re.compile(r"[._~:+/=]")
_CARD_NUMBER = re.compile(r"[3-6](?:-?[0-9]){12,18}")  # of the usual brands
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # could forge a log line or move the cursor
# PostgreSQL shows the refused row, with all of a customer's data.
_ROW_IN_TEXT = re.compile(r"(DETAIL: ).*")


def configure(service: str, level: str, log_format: str) -> None:
    """Send all log lines of this process to stdout, in one format. Another call replaces the first.

    :param level: as in LOG_LEVEL
    :param log_format: `json` or `text`, as in LOG_FORMAT
    """
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _Stdout)]:
        root.removeHandler(handler)
    handler = _Stdout(sys.stdout)
    handler.setFormatter(_JsonFormatter(service) if log_format == "json" else _TextFormatter())
    root.addHandler(handler)
    root.setLevel(level)


class _Stdout(logging.StreamHandler[Any]):
    """A separate type, so that `configure` can tell its own handler from others, such as a test's."""


class _JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _utc(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "service": self._service,
            "request_id": request_id.get(),
            "trace_id": trace_id.get(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
            **_extra(record),
            "exception": _traceback(self, record),
        }
        return _on_one_line(_as_json({key: value for key, value in line.items() if value != ""}))


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        words = [f"{_utc(record):%H:%M:%S}.{record.msecs:03.0f}", f"{record.levelname:<7}"]
        words += [without_secrets(record.getMessage())]
        words += [f"{key}={value}" for key, value in _extra(record).items()]
        words += [f"[{request_id.get()}]"] if request_id.get() else []
        # Each further line is indented: no text of an exception can look like a line of its own.
        further = [f"  | {line}" for line in _traceback(self, record).split("\n") if line]
        return "\n".join(map(_on_one_line, [" ".join(words), *further]))


def _on_one_line(text: str) -> str:
    """Write control characters as escapes that are valid in JSON, too."""
    if text.isprintable():
        return text
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _utc(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: _masked(key, value) for key, value in vars(record).items() if key not in _OWN_FIELDS}


def _masked(name: str, value: Any) -> Any:
    """Return the value, with stars in place of everything whose name says that it is secret."""
    if _is_secret(name):
        return "***"
    if isinstance(value, Mapping):
        return {str(key): _masked(str(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked("", inner) for inner in value]
    return without_secrets(value) if isinstance(value, str) else value


@lru_cache(1000)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def without_secrets(text: str) -> str:
    """Return the text without tokens, keys, e-mail addresses and the values of a row that PostgreSQL refused."""
    if "token" in text.lower():
        text = _SECRET_IN_TEXT.sub(r"\1***", text)
    if "earer" in text or "hf" in text or "whsec" in text or "k_" in text or "eyJ" in text:
        text = _CREDENTIAL_IN_TEXT.sub(lambda found: f"{found[1] or found[2] or found[3]}***", text)
    if "DETAIL: " in text:
        text = _ROW_IN_TEXT.sub(r"\1***", text)
    return _EMAIL_IN_TEXT.sub("***", text) if "@" in text else text


def may_be_request_id(text: str) -> bool:
    """Whether the text can be on every log line. A key, a payment token or a card in the wrong header cannot."""
    is_payment = _PAYMENT_TOKEN.search(text) or any(map(is_card_number, _PARTS_OF_AN_ID.split(text)))
    return bool(WELL_FORMED_REQUEST_ID.fullmatch(text)) and not is_payment and without_secrets(text) == text


def is_card_number(text: str) -> bool:
    """Whether the digits are those of a card, with its check digit (ISO/IEC 7812-1, "Luhn")."""
    if not _CARD_NUMBER.fullmatch(text):
        return False
    digits = [int(each) for each in reversed(text) if each.isdigit()]
    return sum(digits[::2] + [sum(divmod(2 * each, 10)) for each in digits[1::2]]) % 10 == 0


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    parts += [formatter.formatStack(record.stack_info)] if record.stack_info else []
    return without_secrets("\n".join(parts))
