"""The types of values in request and response bodies, as marshmallow fields. Each accepts only one spelling."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields, validate

from common.api.visible import is_visible
from domain.money import CURRENCIES, MAX_CENTS

UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
MAX_TOKEN = 8192
"""Characters of a payment token. Those of digital wallets have about 3,500."""
# A regular expression that OpenAPI understands. Unicode's classes would depend on the interpreter's version of Unicode.
ONE_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"


class Id(fields.String):
    """A UUID with hyphens, in lower case once loaded."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"format": "uuid"}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        if not (isinstance(value, str) and UUID_TEXT.fullmatch(value)):
            raise ValidationError("Not a valid UUID.")
        return value.lower()


class WholeNumber(fields.Integer):
    """An integer from `low` to `high`. `true`, `1.0` and `"1"` are refused."""

    def __init__(self, low: int, high: int, **options: Any) -> None:
        super().__init__(strict=True, validate=validate.Range(low, high), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValidationError("Not a whole number.")
        return value


class PageSize(fields.Integer):
    """A whole number in a query string: digits only."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> int:
        if not re.fullmatch("[0-9]{1,9}", str(value)):
            raise ValidationError("Not a whole number.")
        return int(super()._deserialize(value, attr, data, **options))


class TrueOrFalse(fields.Boolean):
    """`true` or `false`, and no other spelling."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Must be true or false.")
        return value


class Flag(fields.Boolean):
    """`true` or `false` in a query string."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> bool:
        if value not in ("true", "false"):
            raise ValidationError("Must be true or false.")
        return bool(value == "true")


class Cents(WholeNumber):
    """An amount of money in the currency's smallest unit."""

    def __init__(self, low: int = 1, **options: Any) -> None:
        super().__init__(low, MAX_CENTS, **options)


class Currency(fields.String):
    """An ISO 4217 code."""

    def __init__(self, **options: Any) -> None:
        metadata = {"example": "USD"} | options.pop("metadata", {})
        super().__init__(validate=validate.OneOf(sorted(CURRENCIES)), metadata=metadata, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        if not (isinstance(value, str) and value in CURRENCIES):
            raise ValidationError("Not an ISO 4217 currency code.")
        return value


class SingleLine(fields.String):
    """A string of `low` to `high` characters without control characters and line separators."""

    def __init__(
        self, low: int, high: int, pattern: str | None = None, example: str | None = None, **options: Any
    ) -> None:
        rules: list[validate.Validator] = [validate.Length(low, high)]
        rules += [validate.Regexp(pattern)] if pattern else []
        metadata = {} if pattern else {"pattern": ONE_LINE}
        metadata |= {"example": example} if example else {}
        metadata |= options.pop("metadata", {})
        super().__init__(validate=rules, metadata=metadata, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        text = super()._deserialize(value, attr, data, **options)
        one_line(text)
        return str(text)


class HumanText(SingleLine):
    """Text that people read. Unless it is empty, at least one of its characters is visible."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        text = super()._deserialize(value, attr, data, **options)
        if text and not is_visible(text):
            raise ValidationError("Must have at least one visible character.")
        return text


def one_line(text: str) -> None:
    """Validate that a text has no control characters and no line separators. :raises ValidationError:"""
    if not re.fullmatch(ONE_LINE, text):
        raise ValidationError("Control characters are not allowed.")


class Moment(fields.String):
    """A time in RFC 3339, with an offset from UTC. Loaded as an aware time in UTC."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"format": "date-time", "example": "2026-01-31T00:00:00Z"}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> datetime:  # type: ignore[override]
        try:
            if not (isinstance(value, str) and MOMENT.fullmatch(value)):
                raise ValueError
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValidationError("Not a time in RFC 3339, such as 2026-01-31T00:00:00Z.") from None


class Timestamp(fields.String):
    """RFC 3339 in UTC, ending in `Z`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"format": "date-time"}, **options)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> str | None:
        return None if value is None else rfc3339(value)


def rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
