"""Tokens: what is issued, what is accepted, and the attacks on JWTs that must fail."""

import base64
import hashlib
import hmac
import json

import jwt
import pytest

from common.credentials import service_tokens
from common.credentials.service_tokens import InvalidToken, Issuer, Verifier, issue

KEY, NEXT_KEY, FOREIGN_KEY = ("first-key" * 4, "next-key-" * 4, "foreign--" * 4)
NOW = 1_800_000_000
SERVICE = "payments_service"
CLAIMS = {"iss": "edge_api", "aud": SERVICE, "iat": NOW, "exp": NOW + 300}
HEADER = {"alg": "HS256", "typ": "JWT"}


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(clock: Clock) -> Verifier:
    return Verifier([KEY, NEXT_KEY], SERVICE, clock)


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def signed(claims: object = CLAIMS, header: object = HEADER, key: str = KEY, algorithm: str = "sha256") -> str:
    """A token as an attacker may build it: nothing is checked."""
    text = f"{encoded(header)}.{encoded(claims)}"
    mac = hmac.new(key.encode(), text.encode(), getattr(hashlib, algorithm)).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def without(name: str) -> dict[str, object]:
    return {claim: value for claim, value in CLAIMS.items() if claim != name}


def test_token_names_its_caller(verifier: Verifier) -> None:
    assert verifier.caller(issue([KEY], "orchestrator", SERVICE, NOW)) == "orchestrator"
    assert verifier.caller(signed()) == "edge_api"


def test_every_listed_key_verifies_and_the_first_one_signs(verifier: Verifier) -> None:
    assert verifier.caller(issue([NEXT_KEY, KEY], "edge_api", SERVICE, NOW)) == "edge_api"
    token = issue([NEXT_KEY, KEY], "edge_api", SERVICE, NOW)
    with pytest.raises(InvalidToken):
        Verifier([KEY], SERVICE, lambda: NOW).caller(token)


ATTACKS = {
    "nothing": "",
    "no token": "token",
    "two parts": "a.b",
    "empty parts": "..",
    "another key": signed(key=FOREIGN_KEY),
    "an empty key": signed(key=""),
    "no signature": signed().rpartition(".")[0] + ".",
    "algorithm none": f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(CLAIMS)}.",
    "algorithm None": f"{encoded({'alg': 'None', 'typ': 'JWT'})}.{encoded(CLAIMS)}.",
    "another hash": signed(header={"alg": "HS512", "typ": "JWT"}, algorithm="sha512"),
    "our key as a public key": signed(header={"alg": "RS256", "typ": "JWT"}),
    "no type": signed(header={"alg": "HS256"}),
    "another type": signed(header={"alg": "HS256", "typ": "at+jwt"}),
    "a key of its own": signed(header=HEADER | {"jwk": {"kty": "oct", "k": "AAAA"}}, key="AAAA"),
    "a key's address": signed(header=HEADER | {"jku": "https://attacker.example/keys"}),
    "a key's path": signed(header=HEADER | {"kid": "../../dev/null"}, key=""),
    "a critical extension": signed(header=HEADER | {"crit": ["b64"], "b64": False}),
    "the claims changed": ".".join((encoded(HEADER), encoded(CLAIMS | {"iss": "ops"}), signed().rpartition(".")[2])),
    "claims that are a list": signed([]),
    "another service": signed(CLAIMS | {"aud": "orders_service"}),
    "several services": signed(CLAIMS | {"aud": [SERVICE, "orders_service"]}),
    "an unknown caller": signed(CLAIMS | {"iss": "shop"}),
    "a caller that is a list": signed(CLAIMS | {"iss": ["ops"]}),
    "a client": signed(CLAIMS | {"iss": "payments_service"}),
    "expired": signed(CLAIMS | {"iat": NOW - 400, "exp": NOW - 100}),
    "from the future": signed(CLAIMS | {"iat": NOW + 100, "exp": NOW + 400}),
    "too long a life": signed(CLAIMS | {"exp": NOW + 301}),
    "too long a life of an operator": signed(CLAIMS | {"iss": "ops", "exp": NOW + 3601}),
    "ends before it begins": signed(CLAIMS | {"exp": NOW - 1}),
    "an end that is a text": signed(CLAIMS | {"exp": str(NOW + 300)}),
    "an end that is not a number": signed(CLAIMS | {"exp": True}),
    "an endless end": signed(CLAIMS | {"exp": 1e400}),
    "a claim more": signed(CLAIMS | {"sub": "ops"}),
    "not valid yet": signed(CLAIMS | {"nbf": NOW + 1000}),
    "too long": signed(CLAIMS | {"iss": "e" * 2000}),
    **{f"no {claim}": signed(without(claim)) for claim in CLAIMS},
}


@pytest.mark.parametrize("token", ATTACKS.values(), ids=ATTACKS.keys())
def test_attack_is_refused(verifier: Verifier, token: str) -> None:
    for _ in range(2):
        with pytest.raises(InvalidToken):
            verifier.caller(token)


def test_remembered_token_expires(verifier: Verifier, clock: Clock) -> None:
    token = signed()
    assert verifier.caller(token) == "edge_api"
    clock.now = NOW + 300 + service_tokens.CLOCK_SKEW_S
    with pytest.raises(InvalidToken):
        verifier.caller(token)


def test_valid_token_is_verified_once(verifier: Verifier, monkeypatch: pytest.MonkeyPatch) -> None:
    token = signed()
    verifier.caller(token)
    monkeypatch.delattr(jwt, "decode")
    assert verifier.caller(token) == "edge_api"


def test_memory_of_tokens_is_bounded(verifier: Verifier, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_tokens, "MAX_REMEMBERED", 3)
    for second in range(10):
        verifier.caller(issue([KEY], "edge_api", SERVICE, NOW + second))
    assert len(verifier._known) <= 3


def test_issuer_renews_its_token_before_it_expires(verifier: Verifier, clock: Clock) -> None:
    issuer = Issuer([KEY], "orchestrator", SERVICE, clock)
    first = issuer.header()
    assert first.startswith("Bearer ")
    for passed in (0, 100, 239):
        clock.now = NOW + passed
        assert issuer.header() is first
    clock.now = NOW + 240
    second = issuer.header()
    assert second != first
    assert verifier.caller(second.removeprefix("Bearer ")) == "orchestrator"


def test_issuer_replaces_a_token_that_a_wrong_clock_has_dated(verifier: Verifier, clock: Clock) -> None:
    """Until the database answers, the clock of the host counts, which may be an hour ahead or behind."""
    for wrong in (3600, -3600):
        issuer = Issuer([KEY], "orchestrator", SERVICE, clock)
        clock.now = NOW + wrong
        issuer.header()
        clock.now = NOW
        assert verifier.caller(issuer.header().removeprefix("Bearer ")) == "orchestrator"
