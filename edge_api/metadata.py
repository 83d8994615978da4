"""The shop's own notes on an order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

from common.api.fields import one_line

MAX_ENTRIES = 50
MAX_NAME = 40
MAX_VALUE = 500
MAX_BYTES = 8 * 1024
"""Of all names and values together, in UTF-8."""


class Metadata(fields.Dict):
    """An object of strings. The names have one line; the values may have several."""

    def __init__(self, **options: Any) -> None:
        about = {
            "description": f"at most {MAX_ENTRIES} strings, whose names have 1 to {MAX_NAME} printable characters;"
            f" {MAX_BYTES // 1024} KiB together in UTF-8",
            "maxProperties": MAX_ENTRIES,
            "example": {"channel": "web"},
        }
        value = fields.String(validate=validate.Length(max=MAX_VALUE))
        super().__init__(keys=fields.String(), values=value, metadata=about, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise ValidationError("Not an object.")
        if problems := list(_problems(value)):
            raise ValidationError(problems)
        return dict(value)


def _problems(metadata: Mapping[str, Any]) -> Iterator[str]:
    if len(metadata) > MAX_ENTRIES:
        yield f"At most {MAX_ENTRIES} entries."
    if not all(1 <= len(name) <= MAX_NAME and _is_one_line(name) for name in metadata):
        yield f"Each name must have 1 to {MAX_NAME} printable characters."
    if not all(isinstance(value, str) for value in metadata.values()):
        yield "Each value must be a string."
    elif any(len(value) > MAX_VALUE for value in metadata.values()):
        yield f"Each value must have at most {MAX_VALUE} characters."
    elif sum(len(text.encode()) for entry in metadata.items() for text in entry) > MAX_BYTES:
        yield f"At most {MAX_BYTES // 1024} KiB together."


def _is_one_line(text: str) -> bool:
    try:
        one_line(text)
    except ValidationError:
        return False
    return True
