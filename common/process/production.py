"""What stops the start where APP_ENV is production: settings for tests, weak secrets, and passwords without TLS."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Protocol

from psycopg2.extensions import parse_dsn

SHORTEST_KEY = 32
SHORTEST_PASSWORD = 12
DIFFERENT_CHARACTERS = 5  # of 12 random hexadecimal digits, fewer are different in one of 10,000 cases
PLACEHOLDERS = ("password", "secret", "changeme", "change-me", "example", "default", "holdfast", "postgres", "123456")
WHERE = "where APP_ENV is production"


class Checked(Protocol):
    """The settings that are checked."""

    @property
    def crash_at(self) -> str: ...
    @property
    def log_level(self) -> str: ...
    @property
    def mock_failure_rate(self) -> float: ...
    @property
    def mock_latency_ms(self) -> int: ...
    @property
    def console_oidc_issuer(self) -> str: ...
    @property
    def service_token_keys(self) -> tuple[str, ...]: ...
    @property
    def alert_webhook_url(self) -> str: ...
    @property
    def database_url(self) -> str: ...
    @property
    def database_direct_url(self) -> str: ...


def problems(settings: Checked, environ: Mapping[str, str], names: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each setting that must be changed. None repeats a value.

    :param names: the variables that `database_url` and `database_direct_url` come from
    """
    if settings.crash_at:
        yield f"CRASH_AT must not be set {WHERE}: it kills processes"
    if settings.log_level == "DEBUG":
        yield f"LOG_LEVEL must not be DEBUG {WHERE}: libraries then log what they send and receive"
    if environ.get("FLASK_DEBUG", "0").lower() not in ("", "0", "false", "no"):
        yield f"FLASK_DEBUG must not be set {WHERE}: errors then show the code and its variables"
    for name, value in (
        ("MOCK_FAILURE_RATE", settings.mock_failure_rate),
        ("MOCK_LATENCY_MS", settings.mock_latency_ms),
    ):
        if value:
            yield f"{name} must be 0 {WHERE}: it makes payments fail or wait, for tests"
    if settings.alert_webhook_url.startswith("http:"):
        yield f"ALERT_WEBHOOK_URL must begin with https:// {WHERE}: what it sends could be read and changed on its way"
    if settings.console_oidc_issuer.startswith("http://"):
        yield f"CONSOLE_OIDC_ISSUER must be an https:// address {WHERE}: anyone on the way could sign in"
    for key in settings.service_token_keys:
        if reason := weakness(key, SHORTEST_KEY):
            yield f"SERVICE_TOKEN_KEYS has a secret that can be guessed: {WHERE} each must {reason}"
    for url, name in {settings.database_direct_url: names["direct_url"], settings.database_url: names["url"]}.items():
        yield from _database(name, url, environ)


def weakness(secret: str, shortest: int) -> str:
    """Why a secret can be guessed, as the end of "it must …". Empty: no reason is known."""
    if len(secret) < shortest:
        return f"have at least {shortest} characters"
    if any(word in secret.lower() for word in PLACEHOLDERS) and len(secret) < 2 * shortest:
        return "not contain a usual placeholder"
    if len(set(secret)) < DIFFERENT_CHARACTERS or (secret + secret).find(secret, 1) < len(secret):
        return "not repeat itself"
    return ""


def _database(name: str, url: str, environ: Mapping[str, str]) -> Iterator[str]:
    given = parse_dsn(url)

    def parameter(key: str) -> str:
        """As libpq finds it: in the address, or else in its variable."""
        return given.get(key) or environ.get(f"PG{key.upper()}", "")

    # A service is a section of a file: its host may be anywhere.
    is_here = not parameter("service") and is_local(parameter("hostaddr")) and is_local(parameter("host"))
    if not is_here and not parameter("sslmode"):
        yield (
            f"{name} must say how the connection is encrypted {WHERE}: add sslmode=verify-full or sslmode=require to"
            " its parameters, or set PGSSLMODE"
        )
    password = given["password"] if "password" in given else environ.get("PGPASSWORD")
    if password is not None and (reason := weakness(password, SHORTEST_PASSWORD)):
        place = name if "password" in given else "PGPASSWORD"
        yield f"{place} has a password that can be guessed: {WHERE} it must {reason}"


def is_local(hosts: str) -> bool:
    """Whether all hosts are this machine: a socket's folder, `localhost` or a loopback address."""
    return all(_is_this_machine(host) for host in hosts.split(","))


def _is_this_machine(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
