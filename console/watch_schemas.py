"""What the console's API takes and answers about the whole system: its status, its attention, audits and record."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from common.api.fields import Flag, HumanText, Id, PageSize, Timestamp
from console.participants import ASKING, HEALTHY, SILENT, UNHEALTHY
from console.problems import ABOUT
from console.schemas import Plain
from console.status import AGES
from edge_api.cursor import Cursor
from edge_api.schemas import MAX_PAGE


class AttentionQuery(Schema):
    all = Flag(metadata={"description": "also what an operator has dealt with"})
    cursor = Cursor()
    limit = PageSize(load_default=50, validate=validate.Range(1, MAX_PAGE))


class Attention(Schema):
    kind = fields.String(required=True, validate=validate.OneOf(["order", "refund"]))
    order_ledger_id = Id(required=True)
    refund_id = Id(required=True, allow_none=True)
    client = fields.String(required=True)
    status = fields.String(required=True)
    reason = fields.String(required=True)
    since = Timestamp(required=True)
    retry_count = fields.Integer(required=True)
    due_at = Timestamp(required=True, allow_none=True)  # the next try; null: it has ended
    is_set_aside = fields.Boolean(required=True, metadata={"description": "the database refuses to write it"})
    amount_cents = fields.Integer(required=True)
    currency = fields.String(required=True)
    money = fields.String(required=True, metadata={"description": "where the money is, as the ledger knows"})
    is_dealt_with = fields.Boolean(required=True)
    dealt_with_at = Timestamp(required=True, allow_none=True)
    dealt_with_by = fields.String(required=True, allow_none=True)
    dealt_with_reason = fields.String(required=True, allow_none=True)


class AttentionPage(Schema):
    entries = fields.List(fields.Nested(Attention), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
    open = fields.Integer(required=True, metadata={"description": "how many need attention in all"})
    dealt_with = fields.Integer(required=True, metadata={"description": "how many are hidden without `all`"})


class RecordQuery(Schema):
    actor = HumanText(1, 1024)
    action = HumanText(1, 100)
    order_ledger_id = Id()
    cursor = Cursor()
    limit = PageSize(load_default=50, validate=validate.Range(1, MAX_PAGE))


class Recorded(Schema):
    id = Id(required=True)
    at = Timestamp(required=True)
    actor = fields.String(required=True)
    database_role = fields.String(required=True)
    action = fields.String(required=True)
    details = Plain(required=True)


class RecordPage(Schema):
    rows = fields.List(fields.Nested(Recorded), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class Run(Schema):
    id = Id(required=True)
    at = Timestamp(required=True)
    took_ms = fields.Integer(required=True)
    healthy = fields.Boolean(required=True)
    rows_found = fields.Integer(required=True)
    violations = Plain(required=True)
    is_old = fields.Boolean(required=True, metadata={"description": "more than an hour ago"})


class Rule(Schema):
    name = fields.String(required=True)
    found = fields.Integer(required=True)
    means = fields.String(required=True)


class Violation(Schema):
    rule = fields.String(required=True)
    subject = fields.String(required=True)
    id = fields.String(
        required=True, allow_none=True, metadata={"description": "of the subject, as `GET /api/search` takes it"}
    )
    text = fields.String(required=True)


class Audits(Schema):
    last = fields.Nested(Run, required=True, allow_none=True)
    rules = fields.List(fields.Nested(Rule), required=True)
    examples = fields.List(
        fields.Nested(Violation), required=True, metadata={"description": "what the last one found, up to 100"}
    )
    runs = fields.List(fields.Nested(Run), required=True)


class Figures(Schema):
    """Of the last hour."""

    per_minute = fields.Float(required=True, metadata={"description": "orders accepted a minute, in the last five"})
    counts = Plain(required=True)
    shares = Plain(required=True, metadata={"description": "of the orders that ended; null: none did"})
    p50_s = fields.Float(required=True, allow_none=True)
    p95_s = fields.Float(required=True, allow_none=True)


class OrdersInState(Schema):
    status = fields.String(required=True)
    orders = fields.Integer(required=True)
    retrying = fields.Integer(required=True)


class RefundsInState(Schema):
    status = fields.String(required=True)
    refunds = fields.Integer(required=True)
    retrying = fields.Integer(required=True)


class Holds(Schema):
    holds = fields.Integer(required=True)
    amount_cents = fields.Integer(required=True)


Held = Schema.from_dict(
    {"currency": fields.String(required=True)} | {age: fields.Nested(Holds, required=True) for age in AGES},
    name="Held",
)


class Process(Schema):
    instance = fields.String(required=True)
    process = fields.String(required=True)
    host = fields.String(required=True)
    pid = fields.Integer(required=True)
    version = fields.String(required=True)
    started_at = Timestamp(required=True)
    seen_at = Timestamp(required=True)
    is_silent = fields.Boolean(required=True)
    is_listening = fields.Boolean(required=True, allow_none=True)
    hanging = fields.List(fields.String(), required=True, metadata={"description": "threads without progress"})
    open_breakers = fields.List(fields.String(), required=True)
    pools = Plain(required=True)


class Participant(Schema):
    name = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf([HEALTHY, UNHEALTHY, SILENT, ASKING]))
    detail = fields.String(required=True)
    answered_ago_s = fields.Float(required=True, allow_none=True)


class Told(Schema):
    """Something to look at, as a sentence that ends with the time since when, if that is known."""

    about = fields.String(required=True, validate=validate.OneOf(ABOUT))
    text = fields.String(required=True)
    since = Timestamp(required=True, allow_none=True)


class SystemStatus(Schema):
    as_of = Timestamp(required=True)
    problems = fields.List(fields.Nested(Told), required=True, metadata={"description": "what is wrong"})
    notices = fields.List(
        fields.Nested(Told), required=True, metadata={"description": "what is not known, and may be well"}
    )
    orders = fields.Nested(Figures, required=True)
    in_flight = fields.List(fields.Nested(OrdersInState), required=True)
    refunds_in_flight = fields.List(fields.Nested(RefundsInState), required=True)
    retrying = fields.Integer(required=True)
    oldest_due_at = Timestamp(required=True, allow_none=True)
    needs_attention = fields.Integer(required=True)
    needs_attention_since = Timestamp(required=True, allow_none=True)
    dealt_with = fields.Integer(required=True)
    held = fields.List(fields.Nested(Held), required=True)
    processes = fields.List(fields.Nested(Process), required=True)
    participants = fields.List(fields.Nested(Participant), required=True)
    audit = fields.Nested(Run, required=True, allow_none=True)
