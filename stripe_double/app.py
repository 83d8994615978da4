"""The HTTP of the double: authentication, idempotency keys and faults."""

from __future__ import annotations

import json
import random
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

from stripe_double import payments
from stripe_double.control import control
from stripe_double.errors import Refusal, invalid
from stripe_double.events import API_VERSION
from stripe_double.store import Object, Store, opened

KEYS_LIVE_S = 24 * 3600
REQUEST_ID = "req_double"
CHANCE = random.SystemRandom()
EXPANDABLE = {"latest_charge"}
Seen = Callable[[str, int, Object], object]
Operation = Callable[..., Object]
# Operation → what happens instead of, before, or after it.
INSTEAD = {
    "429": (429, {"type": "api_error", "code": "rate_limit", "message": "Too many requests."}),
    "409": (409, {"type": "idempotency_error", "code": "idempotency_key_in_use", "message": "The key is in use."}),
    "500": (500, {"type": "api_error", "message": "Something went wrong."}),
    "401": (401, {"type": "invalid_request_error", "message": "Invalid API Key provided."}),
    "403": (403, {"type": "invalid_request_error", "message": "The key does not have the required permissions."}),
    "wrong": (400, {"type": "invalid_request_error", "code": "parameter_unknown", "message": "Unknown parameter."}),
    "balance": (400, {"type": "invalid_request_error", "code": "balance_insufficient", "message": "Too little money."}),
}
LOST_BEFORE, LOST_AFTER, UNREADABLE, SILENT = "lost_before", "lost_after", "unreadable", "silent"
ROUTES: tuple[tuple[str, str, str, Operation], ...] = (
    ("POST", "/v1/payment_intents", "create", payments.create),
    ("GET", "/v1/payment_intents", "list", payments.intents),
    ("GET", "/v1/payment_intents/<id_>", "retrieve", payments.retrieve),
    ("POST", "/v1/payment_intents/<id_>/confirm", "confirm", payments.confirm),
    ("POST", "/v1/payment_intents/<id_>/capture", "capture", payments.capture),
    ("POST", "/v1/payment_intents/<id_>/cancel", "cancel", payments.cancel),
    ("POST", "/v1/refunds", "refund", payments.refund),
    ("GET", "/v1/refunds", "list_refunds", payments.refunds),
    ("GET", "/v1/refunds/<id_>", "retrieve_refund", payments.retrieve_refund),
)


def create_app(path: Path, seen: Seen, wake: Callable[[], object]) -> Flask:
    """:param path: of the SQLite file
    :param seen: gets operation, status and body of each answer
    :param wake: is called when there may be webhooks to send
    """
    app = Flask(__name__)
    for method, rule, name, operation in ROUTES:
        app.add_url_rule(rule, name, _view(path, name, operation, seen), methods=[method])
    app.add_url_rule("/_control/<verb>", "control", lambda verb: _controlled(path, verb), methods=["POST"])

    @app.teardown_request
    def woken(_: BaseException | None) -> None:
        wake()

    return app


def _view(path: Path, name: str, operation: Operation, seen: Seen) -> Any:
    def view(**ids: str) -> Response:
        with opened(path) as store:
            fault = _fault(store, name)
            if fault in INSTEAD:
                answer = _instead(fault)
            elif fault not in (LOST_BEFORE, SILENT):
                answer = _once(store, name, operation, ids)
        if fault == SILENT:
            request.environ["werkzeug.socket"].recv(1)  # until the caller hangs up
        if fault in (LOST_BEFORE, SILENT):
            return _lost()
        seen(name, answer.status_code, answer.get_json())
        if fault == LOST_AFTER:
            return _lost()
        return Response("<html>", 200) if fault == UNREADABLE else answer

    return view


def _instead(fault: str) -> Response:
    status, error = INSTEAD[fault]
    more = {"Retry-After": "2", "Stripe-Should-Retry": "true"} if fault == "429" else {}
    return _answer(status, json.dumps({"error": error}), more)


def _fault(store: Store, name: str) -> str:
    for number, kind, rate in store.faults(name):
        if CHANCE.random() < rate:
            store.use_fault(number, kind)
            return kind
    return ""


def _once(store: Store, name: str, operation: Operation, ids: dict[str, str]) -> Response:
    """Run the operation, or repeat the answer that the key already has, also an error."""
    if not re.fullmatch(r"Bearer (sk|rk)_test_\w+", request.headers.get("Authorization", "")):
        return _answer(401, json.dumps({"error": INSTEAD["401"][1]}))
    params = _nested(request.form if request.method == "POST" else request.args)
    key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
    sent = json.dumps([request.path, params], sort_keys=True)
    store.forget_keys(before=store.now() - KEYS_LIVE_S)
    if key and (known := store.answered(key)):
        if known[0] != sent:
            message = "Keys for idempotent requests can only be used with the same parameters."
            return _answer(400, json.dumps({"error": {"type": "idempotency_error", "message": message}}))
        return _answer(known[1], known[2], {"Idempotent-Replayed": "true"})
    try:
        if unknown := sorted(set(params) - payments.PARAMS.get(name, set())):
            raise invalid(f"Received unknown parameter: {unknown[0]}", code="parameter_unknown", param=unknown[0])
        expand = params.pop("expand", [])
        if refused := sorted(set(expand) - EXPANDABLE):
            raise invalid(f"This property cannot be expanded ({refused[0]}).", param="expand")
        store.request = {"id": REQUEST_ID, "idempotency_key": key}
        status, body = 200, payments.expanded(store, operation(store, params, **ids), expand)
    except Refusal as refusal:
        status, body = refusal.status, refusal.body
    text = json.dumps(body)
    if key:
        store.remember(key, sent, status, text)
    return _answer(status, text)


def _answer(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    own = {"Request-Id": REQUEST_ID, "Stripe-Version": request.headers.get("Stripe-Version", API_VERSION)}
    return Response(text, status, {**own, **(headers or {})}, mimetype="application/json")


def _lost() -> Response:
    """Close the connection without an answer, as far as the caller can tell."""
    with suppress(OSError):  # it is closed already
        request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return Response()


def _nested(form: Any) -> dict[str, Any]:
    """`metadata[a]=b` and `types[0]=c` as Stripe reads them."""
    nested: dict[str, Any] = {}
    for name, value in form.items():
        outer, _, inner = name.partition("[")
        if not inner:
            nested[name] = value
        elif inner[:-1].isdigit() or inner == "]":
            nested.setdefault(outer, []).append(value)
        else:
            nested.setdefault(outer, {})[inner[:-1]] = value
    return nested


def _controlled(path: Path, verb: str) -> Object:
    with opened(path) as store:
        return control(store, verb, request.get_json(silent=True) or {})
