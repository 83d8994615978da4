"""`seahaven-stripe-world`, a stand-in for Stripe that others wrote, and what it needs to understand our requests.

It runs on Python 3.14 or newer, which SECOND_OPINION_PYTHON or the PATH must have. It knows the tokens of test cards,
and not the payment methods that Stripe names after them; nor does it know two of our parameters. A translator stands
between.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

import pytest
import requests

from stripe_double import cards
from tests.payments_service.stripe_worlds import KEY
from tests.payments_service.worlds import BEFORE, GOOD, Money
from tests.system.stack import PROJECT, free_port
from tests.waiting import eventually

PACKAGE = "seahaven-stripe-world[http]==0.3.0"
FOLDER = PROJECT / "var" / "second-opinion"
INSTALLS_WITHIN_S = 300
STARTS_WITHIN_S = 60
SERVE = (
    "import seahaven.http, seahaven_stripe_world, seahaven_stripe_world.http_api as api;"
    "seahaven.http.main(seahaven_stripe_world.world, api.handle)"
)
IS_NEW_ENOUGH = "import sys; sys.exit(sys.version_info < (3, 14))"
OPERATIONS = {
    "authorize": "/confirm",
    "capture": "/capture",
    "void": "/cancel",
    "void_by_key": "/cancel",
    "refund": "/refunds",
}
UNKNOWN_TO_IT = {"error_on_requires_action"}
PASSED_ON = ("Authorization", "Idempotency-Key", "Content-Type")
TIMEOUT_S = 30


def installed() -> list[str]:
    """The words that start its Python, in an environment that is kept. Skips the test where there is none."""
    given = shlex.split(os.environ.get("SECOND_OPINION_PYTHON", "")) or [shutil.which("python3.14") or ""]
    if not given[-1] or subprocess.run([*given, "-c", IS_NEW_ENOUGH], check=False).returncode != 0:
        pytest.skip("Python 3.14 is not installed; SECOND_OPINION_PYTHON can name one")
    python = [*given[:-1], str(FOLDER / "bin" / "python")]
    if not _works([*python, "-c", "import seahaven_stripe_world, uvicorn"]):
        install = [*python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", PACKAGE]
        if not (_works([*given, "-m", "venv", str(FOLDER)]) and _works(install)):
            pytest.skip(f"{PACKAGE} could not be installed")
    return python


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, check=False, timeout=INSTALLS_WITHIN_S, capture_output=True).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@contextmanager
def served(log: Path) -> Iterator[str]:
    """Its address while it runs. Each path /worlds/ID is an account of its own."""
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--reset-options", '{"startup": {"livemode": false}}']
    with log.open("wb") as output:
        process = subprocess.Popen([*installed(), "-c", SERVE, *options], stdout=output, stderr=output)
    try:
        eventually(lambda: _listens(port) or process.poll() is not None, STARTS_WITHIN_S)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Translator(ThreadingHTTPServer):
    """Passes our requests on in its words. It can lose a request, or the answer."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self._url = url
        self._methods: dict[str, str] = {}
        self.account = ""
        self.lost: tuple[str, str] | None = None
        """Which path's answers are lost, and whether before or after the effect."""

    def renew(self) -> None:
        """From now on it is an account without any payments."""
        self.account, self.lost = f"{self._url}/worlds/{uuid.uuid4().hex}", None

    def ask(self, method: str, path: str, headers: dict[str, str], form: str = "") -> requests.Response:
        return requests.request(method, self.account + path, data=form, headers=headers, timeout=TIMEOUT_S)

    def translated(self, form: str, headers: dict[str, str]) -> str:
        words = [(name.replace("allowed_payment_method_types", "payment_method_types"), value)
                 for name, value in parse_qsl(form) if name not in UNKNOWN_TO_IT]  # fmt: skip
        return urlencode([
            (name, self._method(value, headers) if name == "payment_method" else value) for name, value in words
        ])  # fmt: skip

    def _method(self, name: str, headers: dict[str, str]) -> str:
        """The id of a payment method that is like the test card. A repeat with the same key has the same one."""
        if not name.startswith("pm_card_"):
            return name
        key = headers["Idempotency-Key"]
        if key not in self._methods:
            form = {"type": "card", "card[token]": name.replace("pm_card_", "tok_")}
            own = {"Authorization": headers["Authorization"]}
            made = requests.post(f"{self.account}/v1/payment_methods", form, headers=own, timeout=TIMEOUT_S)
            made.raise_for_status()
            self._methods[key] = str(made.json()["id"])
        return self._methods[key]


class Handler(BaseHTTPRequestHandler):
    server: Translator

    def do_GET(self) -> None:
        self._pass_on("")

    def do_POST(self) -> None:
        self._pass_on(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def _pass_on(self, form: str) -> None:
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        path, moment = self.server.lost or ("", "")
        is_lost = bool(path) and self.path.endswith(path) and self.command == "POST"
        self.close_connection = True
        if is_lost and moment == BEFORE:
            return
        answer = self.server.ask(self.command, self.path, headers, self.server.translated(form, headers))
        if not is_lost:
            self.send_response(answer.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        pass


class SecondOpinion:
    """It has no card whose refunds are refused or stay pending."""

    tokens: ClassVar = {GOOD: "pm_card_visa"}
    declines: ClassVar = {
        **{token: decline_code for token, (_, decline_code) in cards.DECLINED.items()},
        "pm_unknown": "invalid_payment_method",
    }

    def __init__(self, payments: Any, translator: Translator) -> None:
        self.payments, self._translator = payments, translator

    def lose(self, verb: str, moment: str) -> None:
        self._translator.lost = (OPERATIONS[verb], moment)

    def answer(self) -> None:
        self._translator.lost = None

    def money(self) -> Money:
        """A PaymentIntent that it has canceled goes on to say what could have been captured."""
        intents, refunds = self._all("payment_intents"), self._all("refunds")
        return Money(
            sum(each["amount_capturable"] for each in intents if each["status"] == "requires_capture"),
            sum(each["amount_received"] for each in intents),
            sum(each["amount"] for each in refunds if each["status"] == "succeeded"),
        )

    def _all(self, things: str) -> list[dict[str, Any]]:
        answer = self._translator.ask("GET", f"/v1/{things}?limit=100", {"Authorization": f"Bearer {KEY}"})
        answer.raise_for_status()
        return list(answer.json()["data"])
