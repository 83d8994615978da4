"""Parsers of settings: each takes the text of a variable, and raises ValueError that names the valid values.

No message repeats the text, because it may hold a password.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import psycopg2.extensions

from domain.money import CURRENCIES

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_DAYS = 36_500
LARGEST_NETWORK_BITS = 8
ESCAPES = "a postgresql:// address, with / ? @ and % as %2F %3F %40 and %25 in its password and parameters"


def whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (re.fullmatch("-?[0-9]{1,18}", text) and low <= int(text) <= high):
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def port_or_nothing(text: str) -> int:
    """0: none."""
    if text and not (re.fullmatch("[0-9]{1,5}", text) and 1 <= int(text) <= 65535):
        raise ValueError("a whole number from 1 to 65535")
    return int(text or 0)


def days(shortest: int) -> Callable[[str], int]:
    """0: forever."""

    def parse(text: str) -> int:
        if not (re.fullmatch("[0-9]{1,5}", text) and (int(text) == 0 or shortest <= int(text) <= MAX_DAYS)):
            raise ValueError(f"a whole number from {shortest} to {MAX_DAYS}, or 0")
        return int(text)

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:  # also refuses nan
            raise ValueError(f"a number from {low:g} to {high:g}")
        return value

    return parse


def choice(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError("one of " + ", ".join(words))
        return text

    return parse


def boolean(text: str) -> bool:
    """As in the specification of OpenTelemetry."""
    if text.lower() not in ("true", "false"):
        raise ValueError("one of true, false")
    return text.lower() == "true"


def http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  # raises if it is not a number
    except ValueError:  # its message would repeat the address, and secrets in it
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("an http:// or https:// address, without a user")
    return text.rstrip("/")


def http_url_or_nothing(text: str) -> str:
    return http_url(text) if text else ""


def webhook_url(text: str) -> str:
    """An address as it is: a slash at its end belongs to it."""
    if text:
        http_url(text)
        if not re.fullmatch(r"[\x21-\x7e]{1,2000}", text):
            raise ValueError("an address of at most 2,000 printable ASCII characters")
    return text


def webhook_secret(text: str) -> str:
    """As Standard Webhooks has it: 24 to 64 bytes in base64, after `whsec_`."""
    if text:
        try:
            secret = base64.b64decode(re.fullmatch("whsec_(.+)", text)[1], validate=True)  # type: ignore[index]
        except (TypeError, ValueError):
            secret = b""
        if not 24 <= len(secret) <= 64:
            raise ValueError("a secret of 24 to 64 bytes in base64 that begins with whsec_")
    return text


def database_url(text: str) -> str:
    """A PostgreSQL address as libpq takes it. Heroku's `postgres://` and SQLAlchemy's `+driver` are understood."""
    scheme, separator, rest = text.partition("://")
    url = f"postgresql://{rest}"
    if not separator or scheme.split("+")[0] not in ("postgres", "postgresql") or not rest:
        raise ValueError("a postgresql:// address")
    # libpq would take a part of an unescaped password for a host, a database or a parameter, and repeat it in errors.
    user_and_hosts, path_and_parameters = re.fullmatch("([^/?]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    if user_and_hosts.count("@") > 1 or "@" in path_and_parameters:
        raise ValueError(ESCAPES)
    for name, value in re.findall("[?&]([A-Za-z_]+)=([^&]*)", path_and_parameters):
        if not _parses(f"postgresql://?{name}=true"):
            raise ValueError(f"an address without `{name}`, a parameter that PostgreSQL's client does not know")
        if "=" in value:
            raise ValueError(f"an address with = as %3D in the value of its parameter `{name}`")
    if not _parses(url) or not re.fullmatch("[0-9,]*", psycopg2.extensions.parse_dsn(url).get("port", "")):
        raise ValueError(ESCAPES)
    return url


def database_url_or_nothing(text: str) -> str:
    return database_url(text) if text else ""


def _parses(dsn: str) -> bool:
    try:
        psycopg2.extensions.parse_dsn(dsn)
    except psycopg2.ProgrammingError:  # its message would repeat the address
        return False
    return True


def currency(text: str) -> str:
    if text not in CURRENCIES:
        raise ValueError("an ISO 4217 currency code such as USD or EUR")
    return text


def secret_list(text: str) -> tuple[str, ...]:
    secrets = tuple(filter(None, (part.strip() for part in text.split(","))))
    if not all(re.fullmatch(r"[\x21-\x7e]{32,255}", secret) for secret in secrets):
        raise ValueError("a comma-separated list of secrets, each of 32 to 255 printable ASCII characters")
    return secrets


def stripe_key(text: str) -> str:
    if text and not re.fullmatch(r"(sk|rk)_(test|live)_[0-9A-Za-z_]{1,250}", text):
        raise ValueError("a key of Stripe that begins with sk_test_, rk_test_, sk_live_ or rk_live_")
    return text


def stripe_webhook_secret(text: str) -> str:
    if text and not re.fullmatch(r"whsec_[0-9A-Za-z+/=_-]{8,250}", text):
        raise ValueError("a secret of Stripe that begins with whsec_")
    return text


def networks(text: str) -> tuple[Network, ...]:
    """Networks and single addresses, separated by commas. Large parts of the Internet would include clients."""
    try:
        found = tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        found = (ipaddress.ip_network("0.0.0.0/0"),)
    together: list[Network] = []
    together += ipaddress.collapse_addresses(each for each in found if isinstance(each, ipaddress.IPv4Network))
    together += ipaddress.collapse_addresses(each for each in found if isinstance(each, ipaddress.IPv6Network))
    if any(network.prefixlen < LARGEST_NETWORK_BITS for network in together):
        raise ValueError(
            "a comma-separated list of networks or addresses, such as 10.0.0.0/8 or 127.0.0.1, none larger than /8"
        )
    return found


def ca_bundle(text: str) -> str:
    """The path of certificates in PEM: a file, or a folder as `c_rehash` makes it."""
    try:
        if text and not Path(text).is_dir():
            ssl.create_default_context(cafile=text)
    except OSError:
        raise ValueError("a file of certificates in PEM, or a folder of them") from None
    return text


def on_or_off(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError("one of on and off")
    return text == "on"


def url_path(text: str) -> str:
    """The path without the slash at its end. Empty: the root."""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*/?", text):
        raise ValueError("a path such as /ops/holdfast")
    return text.rstrip("/")


def roles_of_groups(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs of a role and a group of the provider."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    pairs = [re.fullmatch(r"(viewer|operator|admin)=(\S+)", part) for part in parts]
    if not all(pairs):
        raise ValueError("a comma-separated list such as admin=ops-admins,operator=ops,viewer=staff")
    return tuple((pair[1], pair[2]) for pair in pairs if pair)
