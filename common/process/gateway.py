"""What stops the start of the payments service: a gateway without its key, or with one for real money by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol
from urllib.parse import urlsplit

from common.process.production import is_local


class Checked(Protocol):
    """The settings that are checked."""

    @property
    def app_env(self) -> str: ...
    @property
    def payment_gateway(self) -> str: ...
    @property
    def stripe_api_base(self) -> str: ...
    @property
    def stripe_api_key(self) -> str: ...
    @property
    def stripe_live_key(self) -> str: ...


def problems(settings: Checked) -> Iterator[str]:
    """Yield a sentence for each setting that must be changed. None repeats a key."""
    if settings.payment_gateway != "stripe":
        return
    key, base = settings.stripe_api_key, urlsplit(settings.stripe_api_base)
    if not key:
        yield "STRIPE_API_KEY is not set: PAYMENT_GATEWAY=stripe needs a secret or restricted key of the Stripe account"
    is_live = "_live_" in key
    if is_live and settings.app_env != "production" and settings.stripe_live_key != "allow":
        yield (
            "STRIPE_API_KEY is a live key, and APP_ENV is not production: orders would move real money. Take a test"
            " key, or set STRIPE_LIVE_KEY=allow"
        )
    if base.scheme != "https" and (is_live or not is_local(base.hostname or "")):
        yield "STRIPE_API_BASE must be an https:// address: the key would be sent without encryption"
