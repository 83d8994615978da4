"""The kinds of value that bodies are made of, for marshmallow. Each is as strict as the contract."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields, validate

from common.api.visible import is_visible
from domain.money import MAX_CENTS

UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
# As a regular expression of OpenAPI. (Unicode's classes would depend on the version that an interpreter knows.)
ONE_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"
# What has a minor unit in ISO 4217's list one of 2026, without funds, metals and test codes.
CURRENCIES = frozenset(
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD "
    "CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ "
    "GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR "
    "LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN "
    "PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB "
    "TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW "
    "ZWG".split()
)


class Id(fields.String):
    """A UUID in its usual spelling; lower case once loaded."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"format": "uuid"}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        if not (isinstance(value, str) and UUID_TEXT.fullmatch(value)):
            raise ValidationError("Not a valid UUID.")
        return value.lower()


class WholeNumber(fields.Integer):
    """An integer within bounds: no `true`, no `1.0`, no `"1"`."""

    def __init__(self, low: int, high: int, **options: Any) -> None:
        super().__init__(strict=True, validate=validate.Range(low, high), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValidationError("Not a whole number.")
        return value


class Cents(WholeNumber):
    """An amount of money in the currency's smallest unit."""

    def __init__(self, low: int = 1, **options: Any) -> None:
        super().__init__(low, MAX_CENTS, **options)


class Currency(fields.String):
    """An ISO 4217 code."""

    def __init__(self, **options: Any) -> None:
        super().__init__(validate=validate.OneOf(sorted(CURRENCIES)), metadata={"example": "USD"}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        if not (isinstance(value, str) and value in CURRENCIES):
            raise ValidationError("Not an ISO 4217 currency code.")
        return value


class Text(fields.String):
    """A string of `low` to `high` characters on one line; control characters are no text."""

    def __init__(
        self, low: int, high: int, pattern: str | None = None, example: str | None = None, **options: Any
    ) -> None:
        rules: list[validate.Validator] = [validate.Length(low, high)]
        rules += [validate.Regexp(pattern)] if pattern else []
        said = {} if pattern else {"pattern": ONE_LINE, "description": "At least one character is visible."}
        said |= {"example": example} if example else {}
        super().__init__(validate=rules, metadata=said, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        text = super()._deserialize(value, attr, data, **options)
        one_line(text)
        if text and not is_visible(text):
            raise ValidationError("Must have at least one visible character.")
        return str(text)


def one_line(text: str) -> None:
    """A rule for texts without control characters and line separators. :raises ValidationError:"""
    if not re.fullmatch(ONE_LINE, text):
        raise ValidationError("Control characters are not allowed.")


class Timestamp(fields.String):
    """RFC 3339 in UTC, ending in `Z`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"format": "date-time"}, **options)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **options: Any) -> str | None:
        return None if value is None else rfc3339(value)


def rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
