"""The gateway behind the payments service: the simulated one, or the double in the place of Stripe."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import requests

from tests.chaos.cards import STRIPE
from tests.chaos.money_at_gateway import FILE
from tests.chaos.options import Options
from tests.system.stack import PROJECT, free_port
from tests.waiting import eventually

SETTLES_EVERY_S = 3
ANSWERS_WITHIN_S = 5
STARTS_WITHIN_S = 60
CLOSES_WITHIN_S = 3
KEY, SECRET = "sk_test_double", "whsec_of_the_storm"
# Of the calls that fail at the double. The answer of half of them is lost after the effect.
FAULTS = {"lost_after": 0.5, "lost_before": 0.2, "500": 0.1, "429": 0.1, "409": 0.1}


class Gateway(Protocol):
    environ: Mapping[str, str]
    """For all processes."""
    storm: dict[str, dict[str, str]]
    """More of it, by process, until the storm is over."""

    def start(self, payments_url: str) -> None: ...
    def settle(self) -> None:
        """Settle the refunds that it has left pending."""

    def allow_refunds(self, id_: str) -> None:
        """From now on a payment can be refunded. `id_`: the gateway's own"""

    def calm(self) -> None: ...
    def figures(self) -> dict[str, Any]: ...
    def stop(self) -> None: ...


class SimulatedGateway:
    """Its books are tables of the payments service, and it fails as the settings of this service say."""

    def __init__(self, options: Options) -> None:
        self.environ: dict[str, str] = {}
        self.storm = {"payments_service": {"MOCK_FAILURE_RATE": str(options.failure_rate)}}
        self._payments_url = ""

    def start(self, payments_url: str) -> None:
        self._payments_url = payments_url

    def settle(self) -> None:
        _post(f"{self._payments_url}/payments/simulate/settle_refunds")

    def allow_refunds(self, id_: str) -> None:
        pass

    def calm(self) -> None:
        pass

    def figures(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        pass


class StripeDouble:
    """`python -m stripe_double`, with its books in the run's folder."""

    def __init__(self, options: Options, folder: Path) -> None:
        self._options, self._folder, self._port = options, folder.absolute(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.storm: dict[str, dict[str, str]] = {}
        self.environ = {"PAYMENT_GATEWAY": STRIPE, "STRIPE_API_KEY": KEY, "STRIPE_API_BASE": self._url}
        if options.stripe_webhooks:
            self.environ["STRIPE_WEBHOOK_SECRET"] = SECRET

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self, payments_url: str) -> None:
        command = [sys.executable, "-m", "stripe_double", str(self._folder / FILE), str(self._port)]
        with (self._folder / "stripe_double.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log)
        eventually(self._is_up, STARTS_WITHIN_S)
        for kind, share in FAULTS.items():
            self._control("fault", operation="any", kind=kind, rate=share * self._options.failure_rate)
        if self._options.stripe_webhooks:
            self._control("webhook", url=f"{payments_url}/payments/webhooks/stripe", secret=SECRET)
            self._control("webhooks", double=True, reorder=True)

    def settle(self) -> None:
        self._control("end_refunds", status="succeeded")

    def allow_refunds(self, id_: str) -> None:
        self._control("allow_refunds", payment_intent=id_)

    def calm(self) -> None:
        self._control("end_faults")

    def figures(self) -> dict[str, Any]:
        """The sums of money, and how many calls failed in which way."""
        return dict(self._control("look").json())

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def _is_up(self) -> bool:
        try:
            return self._control("look").ok
        except requests.RequestException:
            return False

    def _control(self, verb: str, **body: Any) -> requests.Response:
        return _post(f"{self._url}/_control/{verb}", body)


def gateway_of(options: Options, folder: Path) -> Gateway:
    return StripeDouble(options, folder) if options.payment_gateway == STRIPE else SimulatedGateway(options)


class Settlements:
    """A thread that runs until `stop`, and has the gateway settle its pending refunds every few seconds."""

    def __init__(self, settle: Callable[[], None]) -> None:
        self._settle = settle
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.trouble: list[BaseException] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread.ident:
            self._thread.join(CLOSES_WITHIN_S)

    def _run(self) -> None:
        try:
            while not self._over.wait(SETTLES_EVERY_S):
                try:
                    self._settle()
                except requests.RequestException:
                    continue  # the service is down
        except BaseException as error:
            self.trouble.append(error)


def _post(url: str, body: Mapping[str, Any] | None = None) -> requests.Response:
    answer = requests.post(url, json=body, timeout=ANSWERS_WITHIN_S)
    if not answer.ok and answer.status_code != 503:
        raise RuntimeError(f"POST {url} was answered {answer.status_code}: {answer.text}")
    return answer
