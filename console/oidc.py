"""Sign-in with OpenID Connect: authorization code with PKCE. Only imported when CONSOLE_OIDC_ISSUER is set.

The provider's addresses and keys are fetched when they are first needed, and kept for an hour.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from common.credentials.operator_keys import ROLES
from common.process.settings import Settings
from console.errors import NoRole, ProviderUnavailable, SignInRefused
from console.operators import Operator

TIMEOUT_S = (3.05, 5)  # to connect, and to wait for data: a person waits for it
KEPT_S = 3600
FETCHED_AGAIN_AFTER_S = 60  # for a key that is not known yet
FAILED_S = 5  # no further thread waits meanwhile for a provider that does not answer
LEEWAY_S = 60  # the clocks of the provider and of the database may differ
# Signatures with a public key only. With HS256 the client's secret would do, and `none` needs nothing.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
SCOPE = "openid email profile"
CLAIMS_OF_ROLES = ("groups", "roles")
MAX_NAME = 128
MAX_SUBJECT = 255  # of an OpenID provider
OF_A_USER_NAME = "oidc:"  # no name of an operator key begins so: a person may choose the user name freely


@dataclass(frozen=True)
class Attempt:
    """What the browser keeps from the beginning of a sign-in to its end. Nobody else knows it."""

    state: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))


class Account(NamedTuple):
    """The permanent id of an account at the provider. Its names may change."""

    issuer: str
    subject: str


class Provider:
    """An OpenID provider. Thread-safe: two threads may fetch the same at most."""

    def __init__(self, settings: Settings) -> None:
        self._issuer, self._client_id = settings.console_oidc_issuer, settings.console_oidc_client_id
        self._secret, self._roles = settings.console_oidc_client_secret, settings.console_oidc_roles
        self._http = requests.Session()
        self._http.verify = settings.ca_bundle or True
        self._kept: dict[str, tuple[float, Any]] = {}
        self._failed_at: dict[str, float] = {}

    def address(self, attempt: Attempt, redirect_uri: str) -> str:
        """Where the browser signs in. :raises ProviderUnavailable:"""
        session = self._session(redirect_uri)
        address, _ = session.create_authorization_url(
            self._metadata()["authorization_endpoint"],
            state=attempt.state,
            nonce=attempt.nonce,
            code_verifier=attempt.verifier,
        )
        return str(address)

    def operator(self, code: str, attempt: Attempt, redirect_uri: str, now: int) -> tuple[Operator, Account]:
        """The operator that the provider has authenticated, and the account.

        :param now: seconds since 1970
        :raises ProviderUnavailable, SignInRefused, NoRole:
        """
        token = self._exchange(code, attempt, redirect_uri)
        claims = self._claims(token, attempt.nonce, now)
        account = Account(str(claims["iss"]), str(claims["sub"])[:MAX_SUBJECT])
        return Operator(_name(claims), self._role(claims)), account

    def _exchange(self, code: str, attempt: Attempt, redirect_uri: str) -> Mapping[str, Any]:
        with self._session(redirect_uri) as session:
            try:
                token: Mapping[str, Any] = session.fetch_token(
                    self._metadata()["token_endpoint"], code=code, code_verifier=attempt.verifier, timeout=TIMEOUT_S
                )
            except requests.RequestException as error:
                raise ProviderUnavailable() from error
            except (AuthlibBaseError, ValueError) as error:  # an expired code, or an answer that is not JSON
                raise SignInRefused() from error
        return token

    def _session(self, redirect_uri: str) -> OAuth2Session:
        methods = self._metadata().get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        session = OAuth2Session(
            self._client_id,
            self._secret,
            scope=SCOPE,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method=(
                "client_secret_basic" if "client_secret_basic" in methods else "client_secret_post"
            ),
        )
        session.verify = self._http.verify
        return session

    def _claims(self, token: Mapping[str, Any], nonce: str, now: int) -> CodeIDToken:
        try:
            decoded = self._decoded(str(token.get("id_token", "")))
            issuer, audience = {"essential": True, "value": self._metadata()["issuer"]}, {"value": self._client_id}
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                {"iss": issuer, "aud": audience},
                {"nonce": nonce, "client_id": self._client_id, "access_token": token.get("access_token")},
            )
            claims.validate(now=now, leeway=LEEWAY_S)
        except (JoseError, AuthlibBaseError, ValueError) as error:
            raise SignInRefused() from error
        return claims

    def _decoded(self, text: str) -> jwt.Token:
        try:
            return jwt.decode(text, self._keys(KEPT_S), algorithms=ALGORITHMS)
        except InvalidKeyIdError:  # the provider has a new key
            return jwt.decode(text, self._keys(FETCHED_AGAIN_AFTER_S), algorithms=ALGORITHMS)

    def _keys(self, max_age_s: float) -> KeySet:
        return KeySet.import_key_set(self._fetched(self._metadata()["jwks_uri"], max_age_s))

    def _metadata(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._fetched(get_well_known_url(self._issuer, external=True), KEPT_S)
        if str(found.get("issuer", "")).rstrip("/") != self._issuer:
            raise ProviderUnavailable(f"{self._issuer} describes another provider.")
        return found

    def _fetched(self, address: str, max_age_s: float) -> Any:
        """:raises ProviderUnavailable:"""
        at, kept = self._kept.get(address, (0.0, None))
        if kept is None or time.monotonic() - at > max_age_s:
            if time.monotonic() - self._failed_at.get(address, -inf) < FAILED_S:
                raise ProviderUnavailable()
            try:
                answer = self._http.get(address, timeout=TIMEOUT_S)
                answer.raise_for_status()
                kept = answer.json()
            except (requests.RequestException, ValueError) as error:
                self._failed_at[address] = time.monotonic()
                raise ProviderUnavailable() from error
            self._kept[address] = (time.monotonic(), kept)
        return kept

    def _role(self, claims: Mapping[str, Any]) -> str:
        """The highest role that one of the groups gives. :raises NoRole:"""
        groups: set[str] = set()
        for name in CLAIMS_OF_ROLES:
            value = claims.get(name) or ()
            groups.update([value] if isinstance(value, str) else map(str, value))
        found = [role for role, group in self._roles if group in groups]
        if not found:
            raise NoRole()
        return max(found, key=ROLES.index)


def _name(claims: Mapping[str, Any]) -> str:
    """:raises SignInRefused: the record of actions would not say who did them"""
    address = str(claims.get("email") or "") if claims.get("email_verified") is True else ""
    user_name = str(claims.get("preferred_username") or "")
    name = address or (user_name and f"{OF_A_USER_NAME}{user_name}")
    is_readable = 0 < len(name) <= MAX_NAME and name.isprintable() and name.isascii() and " " not in name
    if not is_readable or address.startswith(OF_A_USER_NAME):
        raise SignInRefused("The provider gives neither a verified e-mail address nor a user name.")
    return name
