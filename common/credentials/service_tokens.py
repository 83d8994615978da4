"""Service tokens: JWTs (RFC 7519) that are signed with a key which all services share (HS256).

`iss` names the caller and `aud` the service that it calls. A token is valid for five minutes. Several keys may be valid
at once, so that they can be replaced without a pause: the first one signs, and all verify.

The hosts' clocks may be off, so callers and services pass a clock that they share: the database's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jwt

Clock = Callable[[], float]
"""Returns seconds since 1970."""

PARTICIPANTS = ("orders_service", "inventory_service", "payments_service")
OPS = "ops"
"""The caller that may call every route of the participants."""
CALLERS = ("edge_api", "orchestrator", "console", OPS)
LIFETIME_S = 300
OPS_LIFETIME_S = 3600
RENEW_BEFORE_S = 60  # much longer than a call takes
CLOCK_SKEW_S = 30
ALGORITHM = "HS256"
HEADER = {"alg": ALGORITHM, "typ": "JWT"}
REQUIRED = ["iss", "aud", "iat", "exp"]
MAX_LENGTH = 1024  # ours have about 200 characters
MAX_REMEMBERED = 1000


class InvalidToken(Exception):
    """The token does not prove who calls."""


def issue(keys: Sequence[str], caller: str, audience: str, now: float, lifetime_s: float = LIFETIME_S) -> str:
    """A token of `caller` for the service `audience`, signed with the first key."""
    claims = {"iss": caller, "aud": audience, "iat": int(now), "exp": int(now + lifetime_s)}
    return jwt.encode(claims, keys[0], algorithm=ALGORITHM)


class Issuer:
    """A caller's tokens for one service, renewed before they expire. Thread-safe."""

    def __init__(self, keys: Sequence[str], caller: str, audience: str, clock: Clock) -> None:
        self._keys, self._caller, self._audience, self._clock = keys, caller, audience, clock
        self._current = ("", float("inf"))

    def header(self) -> str:
        """The value of the header Authorization."""
        header, issued_at = self._current
        now = self._clock()
        # Earlier than before: the database has corrected the clock of this host.
        if not issued_at <= now < issued_at + LIFETIME_S - RENEW_BEFORE_S:
            header = f"Bearer {issue(self._keys, self._caller, self._audience, now)}"
            self._current = header, now
        return header


class Verifier:
    """Says who sent a token to one service. Thread-safe.

    A valid token is verified once and remembered until it expires.
    """

    def __init__(self, keys: Sequence[str], audience: str, clock: Clock) -> None:
        self._keys, self._audience, self._clock = keys, audience, clock
        self._known: dict[str, tuple[str, float]] = {}

    def caller(self, token: str) -> str:
        """The caller's name. :raises InvalidToken:"""
        if not token or len(token) > MAX_LENGTH:
            raise InvalidToken
        now = self._clock()
        known = self._known.get(token)
        if known and now < known[1]:
            return known[0]
        claims = self._signed_claims(token)
        _check(claims, now)
        if len(self._known) >= MAX_REMEMBERED:
            self._known = {}
        self._known[token] = claims["iss"], claims["exp"] + CLOCK_SKEW_S
        return str(claims["iss"])

    def _signed_claims(self, token: str) -> dict[str, Any]:
        # The library compares times with the host's clock, so `_check` does it.
        options: Any = {"require": REQUIRED, "strict_aud": True}
        options |= {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
        try:
            if jwt.get_unverified_header(token) != HEADER:
                raise InvalidToken
            for key in self._keys:
                try:
                    claims: dict[str, Any] = jwt.decode(
                        token, key, algorithms=[ALGORITHM], audience=self._audience, options=options
                    )
                except jwt.InvalidSignatureError:
                    continue
                return claims
        except (jwt.InvalidTokenError, ValueError) as error:
            raise InvalidToken from error
        raise InvalidToken


def _check(claims: dict[str, Any], now: float) -> None:
    """:raises InvalidToken: an unknown caller, or a token that is not valid at this time"""
    issued_at, expires_at = claims["iat"], claims["exp"]
    limit_s = OPS_LIFETIME_S if claims["iss"] == OPS else LIFETIME_S
    if (
        set(claims) != set(REQUIRED)
        or claims["iss"] not in CALLERS
        or type(issued_at) is not int
        or type(expires_at) is not int
        or not 0 < expires_at - issued_at <= limit_s
        or issued_at > now + CLOCK_SKEW_S
        or expires_at <= now - CLOCK_SKEW_S
    ):
        raise InvalidToken
