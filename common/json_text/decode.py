"""The one strict reader of JSON, for requests and for the answers of other services.

Python's own reader accepts more than the standard (NaN, repeated names), and the standard allows text that no database
stores (NUL, half of a surrogate pair).
"""

from __future__ import annotations

import json
import math
from codecs import BOM_UTF8
from typing import Any

MAX_DEPTH = 32  # our deepest body has 4 levels


class NotJson(ValueError):
    """The reason, for a person. It never repeats the text, which may be secret."""


def decode(raw: bytes) -> Any:
    """The value of strict JSON in UTF-8. :raises NotJson: with the reason"""
    try:
        value = _strict.decode(raw.removeprefix(BOM_UTF8).decode())  # some editors add a byte order mark
        if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
            _check_depth(value)
        if b"\\u" in raw:
            _check_text(value)
    except (ValueError, RecursionError) as error:
        raise NotJson(_reason(error)) from None
    return value


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJson("a name is repeated in one object")
    return found


def _no_constant(name: str) -> None:
    raise NotJson(f"{name} is not a number")


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise NotJson("a number is too large")
    return number


_strict = json.JSONDecoder(object_pairs_hook=_unique_names, parse_constant=_no_constant, parse_float=_finite)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child for each in level if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]  # fmt: skip
        if not level:
            return
    if any(isinstance(each, dict | list) for each in level):
        raise NotJson("it is nested too deeply")


def _check_text(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    text.encode("utf-8")  # raises UnicodeEncodeError, a ValueError, for half of a surrogate pair
    if "\\u0000" in text.replace("\\\\", ""):
        raise NotJson("a text contains NUL")


def _reason(error: Exception) -> str:
    match error:
        case NotJson() | json.JSONDecodeError():
            return str(error)  # the latter names a place
        case UnicodeDecodeError():
            return "it is not UTF-8"
        case UnicodeEncodeError():
            return "a text contains half of a surrogate pair"
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return "a number has too many digits"  # the only ValueError left
