"""Forms: the key that each carries, its fields, and what is shown if it is refused."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from flask import redirect, render_template, request, url_for
from marshmallow import Schema
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from common.api.errors import ApiError, ValidationFailed
from common.api.idempotency import WELL_FORMED
from common.api.routes import load
from console.context import Console
from console.pages import tell
from console.writes import Done, Unanswered

KEY = "key"
DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
MINUTE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?", re.ASCII)


def new_key() -> str:
    return str(uuid.uuid4())


def key() -> str:
    """The key of the form that was sent. :raises ValidationFailed: it has none"""
    given = request.form.get(KEY, "")
    if not WELL_FORMED.fullmatch(given):
        raise ValidationFailed("The form has no key. Open the page again.")
    return given


def text(name: str) -> str:
    return request.form.get(name, "").strip()


def filled(form: Mapping[str, str], *names: str) -> dict[str, Any]:
    """Those of these fields in which something was written."""
    return {name: form[name].strip() for name in names if form.get(name, "").strip()}


def whole_number(form: Mapping[str, str], name: str) -> int:
    """:raises ValidationFailed: it is not one"""
    given = form.get(name, "").strip()
    if not (given.isascii() and given.isdigit() and len(given) <= 9):
        raise ValidationFailed(**{name: ["Not a whole number."]})
    return int(given)


class Asked(NamedTuple):
    """The filters of a list."""

    given: dict[str, str]
    """As they were written."""
    query: dict[str, Any]
    """As they were understood. None of them, if there are problems."""
    problems: dict[str, Any]
    """Name → what is wrong with it."""


def asked(schema: Schema, *, moments: Collection[str] = (), **usual: str) -> Asked:
    """The filters in the address of this page.

    :param moments: those that are a time, as `moment` takes it
    :param usual: filters that are not in the address
    """
    sent = {name: value.strip() for name, value in request.args.items() if value.strip()}
    sent |= {name: moment(sent[name]) for name in moments if name in sent}
    given = {name: value for name, value in sent.items() if name in schema.fields}  # no other name goes into a link
    try:
        return Asked(given, load(schema, {**usual, **sent}), {})
    except ValidationFailed as error:
        return Asked(given, schema.load(usual), error.details)


def more(endpoint: str, cursor: str | None, given: Mapping[str, str], **path: str) -> str | None:
    """The address of the next page of a list, with the same filters. None: this is the last one."""
    values: dict[str, Any] = {**given, **path, "cursor": cursor}
    return url_for(f".{endpoint}", **values) if cursor else None


def moment(given: str) -> str:
    """A time as RFC 3339, of one in UTC as a browser sends it from an input for a date, or for a date and a time.

    Anything else stays as it is.
    """
    if DAY.fullmatch(given):
        return f"{given}T00:00:00Z"
    if MINUTE.fullmatch(given):
        return f"{given}Z" if given.count(":") == 2 else f"{given}:00Z"
    return given


def outcome(done: Done, notice: str) -> str:
    """What the next page tells."""
    return told(notice, is_repeat=done.is_repeat)


def told(notice: str, *, is_repeat: bool) -> str:
    return f"{notice} This form was sent before, and nothing was changed a second time." if is_repeat else notice


def answer(
    console: Console, work: Callable[[], str], then: str, template: str, values: Callable[[], dict[str, Any]]
) -> Response | tuple[str, int]:
    """Act, and go on to the page that tells what was done. A refusal is told with the form as it was typed.

    :param work: returns what the next page tells, or raises ApiError
    :param then: the address of the next page
    :param template: of the page with the form, and its `values`
    """
    try:
        tell(console, work())
    except ApiError as error:
        return refused(error, template, **values())
    return redirect(then, 303)


def refused(error: ApiError, template: str, **values: Any) -> tuple[str, int]:
    """The page of the form again, with what is wrong and what was typed.

    A form that got no answer can be sent once more, with its key. Any other gets a new one.
    """
    page = render_template(
        template,
        **values,
        problem=error,
        again=MultiDict(request.form) if isinstance(error, Unanswered) else None,
        again_at=f"{request.script_root}{request.path}",
        typed=request.form,
        key=new_key(),
    )
    return page, error.status
