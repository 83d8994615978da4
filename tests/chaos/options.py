"""The options of a run: `make chaos ORDERS=10000 SEED=7`, or the same in the environment."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields
from typing import Any

from common.process.settings import SettingError, Settings, choice, number, setting, whole
from tests.chaos.cards import SIMULATED, STRIPE

# The services' own settings that shape a run. The defaults are those of production, not the short ones of other tests.
# RETRY_BASE_S is the exception: an undo that failed five times is retried after 300 × RETRY_BASE_S, and QUIET_S is 180.
# A receiver that hangs holds up the others for WEBHOOK_TIMEOUT_S, which would be longer than the whole storm.
PACE = {
    "RETRY_BASE_S": "0.5",
    "RETRY_FACTOR": "",
    "LEASE_S": "",
    "ABANDONED_AFTER_S": "",
    "POLL_INTERVAL_S": "",
    "WEBHOOK_TIMEOUT_S": "2",
    "WEBHOOK_LEASE_S": "10",
    "WEBHOOK_POLL_INTERVAL_S": "",
}


def often(text: str) -> float:
    """Seconds between two disturbances of a kind; 0: none."""
    return number(0, 86_400)(text)


@dataclass(frozen=True, kw_only=True)
class Options:
    orders: int = setting(whole(1, 1_000_000), "1000", "how many orders")
    seed: int = setting(whole(0, 10**9), "", "makes the plan; by default a new one each time")
    rate: float = setting(number(0.1, 1000), "25", "orders a second")
    seconds: float = setting(
        number(1, 86_400), "3600", "the storm ends by then; orders that have not begun are left out"
    )
    buyers: int = setting(whole(1, 256), "24", "clients at work at once")
    kill_every_s: float = setting(often, "2", "SIGKILL to a process or a worker")
    restart_every_s: float = setting(often, "20", "the database crashes and restarts")
    freeze_every_s: float = setting(often, "60", "SIGSTOP to an orchestrator for longer than its lease")
    lock_every_s: float = setting(often, "15", "a transaction locks a product for some seconds")
    hang_every_s: float = setting(often, "45", "SIGSTOP to the payments service for longer than its callers wait")
    receiver_every_s: float = setting(
        often, "15", "SIGKILL to the receiver of webhooks, which is down for some seconds"
    )
    receiver_failure_rate: float = setting(
        number(0, 1), "0.06", "share of webhooks that the receiver does not accept, or leaves unanswered"
    )
    poison_every_s: float = setting(often, "30", "the database refuses every write to one ledger entry")
    failure_rate: float = setting(
        number(0, 1), "0.1", "share of payment calls that fail, half of them after the effect"
    )
    vanish_rate: float = setting(number(0, 1), "0.02", "share of calls between processes that are lost")
    operators: int = setting(whole(0, 16), "2", "operators who click through the console at random")
    payment_gateway: str = setting(
        choice(SIMULATED, STRIPE), SIMULATED, "`stripe`: the double stands in for Stripe, and its books are compared"
    )
    stripe_webhooks: int = setting(whole(0, 1), "0", "1: the double sends webhooks, each twice and out of order")
    quiet_s: float = setting(number(1, 86_400), "180", "everything must have ended by then")

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Options:
        """:raises SettingError: names the first invalid variable"""
        return cls(**{each.name: _value(each, environ) for each in fields(cls)})


def _value(field: Field[Any], environ: Mapping[str, str]) -> Any:
    name, default = field.name.upper(), field.metadata["default"]
    parse: Callable[[str], Any] = field.metadata["parse"]
    try:
        return parse(environ.get(name) or default or str(random.SystemRandom().randrange(10**6)))
    except ValueError as error:
        raise SettingError(f"{name} must be {error}") from None


def pace(environ: Mapping[str, str]) -> dict[str, str]:
    """The services' settings named in PACE, as they are set there or in the environment.

    :raises SettingError: names the first invalid one
    """
    given = {name: environ.get(name) or default for name, default in PACE.items()}
    settings = Settings.load({"DATABASE_URL": "postgresql://not.needed.yet", "APP_ENV": "test", **given})
    return {name: str(getattr(settings, name.lower())) for name in PACE}
