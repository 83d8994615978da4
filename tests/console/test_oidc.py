"""Sign-in with OpenID Connect when the provider, or somebody in its place, sends something wrong."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import responses
from flask import Flask
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from common.credentials import operator_keys
from common.process.settings import SettingError
from console.oidc_pages import COOKIE
from tests.console.desk import Desk, text_of

ISSUER = "https://id.example"
SECRET = "a-secret-of-the-console-in-tests"
SETTINGS = {
    "CONSOLE_OIDC_ISSUER": ISSUER,
    "CONSOLE_OIDC_CLIENT_ID": "console",
    "CONSOLE_OIDC_CLIENT_SECRET": SECRET,
    "CONSOLE_OIDC_ROLES": "admin=ops-admins,operator=ops,viewer=staff",
}
KEY, ANOTHER = (RSAKey.generate_key(2048, {"kid": kid, "alg": "RS256", "use": "sig"}) for kid in ("1", "2"))
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/auth",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/keys",
    "token_endpoint_auth_methods_supported": ["client_secret_basic"],
}


class FakeProvider:
    """Its answers can be changed."""

    def __init__(self, network: responses.RequestsMock) -> None:
        self.network, self.key, self.header = network, KEY, {"alg": "RS256", "kid": "1"}
        self.published = [KEY]
        self.claims: dict[str, Any] = {}
        self.asked: list[requests.PreparedRequest] = []
        network.add(responses.GET, f"{ISSUER}/.well-known/openid-configuration", json=METADATA)
        network.add_callback(responses.GET, f"{ISSUER}/keys", lambda _: (200, {}, json.dumps(self._keys())))
        network.add_callback(responses.POST, f"{ISSUER}/token", self._token)

    def _keys(self) -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in self.published]}

    def _token(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        self.asked.append(request)
        claims = {name: value for name, value in self.claims.items() if value is not None}
        if self.header["alg"] == "none":
            parts = (
                urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (self.header, claims)
            )
            token = ".".join([*parts, ""])
        else:
            token = jwt.encode(self.header, claims, self.key)
        answer = {"access_token": "x", "token_type": "Bearer", "id_token": token}
        return 200, {"Content-Type": "application/json"}, json.dumps(answer)


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as network:
        yield FakeProvider(network)


@pytest.fixture
def app(console_with: Callable[..., Flask]) -> Flask:
    return console_with(**SETTINGS)


def begin(desk: Desk, **query: str) -> dict[str, str]:
    """Go to the provider. :returns: what it is told"""
    sent = desk.get("/sign-in/provider", **query)
    assert sent.status_code == 303, sent.text
    return {name: value[0] for name, value in parse_qs(urlsplit(sent.headers["Location"]).query).items()}


def sign_in(desk: Desk, provider: FakeProvider, **claims: Any) -> Any:
    """:param claims: of the token. Times are in seconds from now"""
    told = begin(desk)
    now = int(time.time())
    claims |= {name: now + claims[name] for name in ("exp", "iat", "nbf") if isinstance(claims.get(name), int)}
    provider.claims = {
        "iss": ISSUER, "aud": "console", "sub": "1", "iat": now, "exp": now + 60, "nonce": told["nonce"],
        "email": "ada@shop.example", "email_verified": True, "groups": ["staff"],
    } | claims  # fmt: skip
    return desk.get("/sign-in/provider/back", code="c", state=told["state"])


def test_page_offers_the_provider_only_if_there_is_one(app: Flask, console_app: Flask) -> None:
    assert "/sign-in/provider" in Desk(app).get("/sign-in").text
    assert "/sign-in/provider" not in Desk(console_app).get("/sign-in").text
    for path in ("/sign-in/provider", "/sign-in/provider/back"):
        assert Desk(console_app).get(path).status_code == 404


def test_sign_in_asks_for_a_code_with_pkce(app: Flask, provider: FakeProvider) -> None:
    desk = Desk(app)
    told, again = begin(desk), begin(Desk(app))
    assert told["response_type"] == "code"
    assert told["code_challenge_method"] == "S256"
    assert told["redirect_uri"] == "http://localhost/sign-in/provider/back"
    assert len({told[name] for name in ("state", "nonce", "code_challenge")} & set(again.values())) == 0
    cookie = desk.client.get("/sign-in/provider").headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/sign-in/provider", "Max-Age=600"} <= set(cookie.split("; "))


def test_provider_signs_in(app: Flask, provider: FakeProvider, sql: Callable[..., Any]) -> None:
    desk = Desk(app)
    answer = sign_in(desk, provider)
    assert answer.status_code == 200, text_of(answer)
    assert '<meta http-equiv="refresh" content="0; url=/">' in answer.text
    cookies = {cookie.partition("=")[0]: cookie for cookie in answer.headers.getlist("Set-Cookie")}
    assert "SameSite=Strict" in cookies["holdfast_session"]
    assert "Max-Age=0" in cookies[COOKIE]
    assert "ada@shop.example (viewer)" in text_of(desk.get("/"))
    (kept,) = sql("SELECT key_id, expires_at - created_at AS lasts FROM operator_sessions")
    assert (kept["key_id"], kept["lasts"].total_seconds()) == (None, 12 * 3600)
    form = parse_qs(provider.asked[0].body)
    assert len(form["code_verifier"][0]) >= 43
    assert provider.asked[0].headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize(("groups", "role"), [
    (["staff"], "viewer"), (["staff", "ops"], "operator"), (["ops-admins", "staff"], "admin"), ("ops", "operator"),
])  # fmt: skip
@pytest.mark.parametrize("claim", ["groups", "roles"])
def test_highest_role_of_the_groups_counts(
    app: Flask, provider: FakeProvider, groups: Any, role: str, claim: str
) -> None:
    desk = Desk(app)
    assert sign_in(desk, provider, **{"groups": None, claim: groups})
    assert f"({role})" in text_of(desk.get("/"))


@pytest.mark.parametrize("groups", [None, [], ["Staff", "staff2", "sta", "viewer"], "staff,ops"])
def test_account_without_a_role_is_refused_with_a_page(app: Flask, provider: FakeProvider, groups: Any) -> None:
    desk = Desk(app)
    answer = sign_in(desk, provider, groups=groups)
    assert answer.status_code == 403
    assert "in no group that may use this console" in text_of(answer)
    assert not desk.is_signed_in


@pytest.mark.parametrize("claims", [
    {"iss": "https://evil.example"}, {"iss": None}, {"aud": "shop"}, {"aud": ["shop"]}, {"aud": None},
    {"aud": "shop", "azp": "console"},
    {"aud": ["console", "shop"]}, {"aud": ["console", "shop"], "azp": "shop"}, {"exp": -3600}, {"exp": None},
    {"iat": 3600}, {"iat": None}, {"nbf": 3600}, {"nonce": "x"}, {"nonce": None}, {"sub": None},
    {"email": None}, {"email_verified": False}, {"email_verified": "true"}, {"email": "a" * 129},
    {"email": "ada lovelace"}, {"email": "ada\n"}, {"at_hash": "x"},
], ids=str)  # fmt: skip
def test_token_that_is_not_for_this_sign_in_is_refused(
    app: Flask, provider: FakeProvider, claims: dict[str, Any]
) -> None:
    desk = Desk(app)
    answer = sign_in(desk, provider, **claims)
    assert (answer.status_code, answer.mimetype) == (403, "text/html")
    assert not desk.is_signed_in


def test_user_name_stands_in_for_an_address_that_is_not_verified(app: Flask, provider: FakeProvider) -> None:
    desk = Desk(app)
    sign_in(desk, provider, email_verified=False, preferred_username="ada")
    assert "oidc:ada (viewer)" in text_of(desk.get("/"))


@pytest.mark.parametrize("claims", [
    {"email": None, "preferred_username": "grace"},
    {"email_verified": False, "preferred_username": "grace@shop.example"},
])  # fmt: skip
def test_user_name_is_nobody_elses_name(
    app: Flask, provider: FakeProvider, claims: dict[str, Any], key: Callable[..., str], sql: Callable[..., Any]
) -> None:
    for name in ("grace", "grace@shop.example"):
        key("admin", name=name)
    sign_in(Desk(app), provider, **claims)
    (session,) = sql("SELECT name FROM operator_sessions")
    assert not operator_keys.NAME.fullmatch(session["name"])


def test_address_that_looks_like_a_user_name_is_refused(app: Flask, provider: FakeProvider) -> None:
    assert sign_in(Desk(app), provider, email="oidc:ada@shop.example").status_code == 403


def test_record_of_a_sign_in_names_the_account(app: Flask, provider: FakeProvider, sql: Callable[..., Any]) -> None:
    sign_in(Desk(app), provider, sub="account-7")
    (recorded,) = sql("SELECT details FROM operator_log WHERE details ->> 'subject' = 'account-7'")
    assert recorded["details"] == {"key": None, "role": "viewer", "issuer": ISSUER, "subject": "account-7"}


@pytest.mark.parametrize(("header", "key"), [
    ({"alg": "none"}, KEY), ({"alg": "HS256"}, OctKey.import_key(SECRET)), ({"alg": "RS256", "kid": "1"}, ANOTHER),
    ({"alg": "RS256", "kid": "3"}, ANOTHER), ({"alg": "HS256", "kid": "1"}, OctKey.import_key("k" * 32)),
])  # fmt: skip
def test_token_with_another_signature_is_refused(
    app: Flask, provider: FakeProvider, header: dict[str, str], key: Any
) -> None:
    provider.header, provider.key = header, key
    desk = Desk(app)
    assert sign_in(desk, provider).status_code == 403
    assert not desk.is_signed_in


def test_new_key_of_the_provider_is_fetched(
    app: Flask, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sign_in(Desk(app), provider).status_code == 200
    provider.header, provider.key, provider.published = {"alg": "RS256", "kid": "2"}, ANOTHER, [KEY, ANOTHER]
    assert sign_in(Desk(app), provider).status_code == 403, "not more often than once a minute"
    monkeypatch.setattr("console.oidc.FETCHED_AGAIN_AFTER_S", 0)
    assert sign_in(Desk(app), provider).status_code == 200


def test_keys_and_addresses_are_kept(app: Flask, provider: FakeProvider) -> None:
    for _ in range(3):
        sign_in(Desk(app), provider)
    assert [call.request.method for call in provider.network.calls].count("GET") == 2


@pytest.mark.parametrize("state", ["", "x", "\xff"])
def test_answer_to_another_sign_in_is_refused(app: Flask, provider: FakeProvider, state: str) -> None:
    desk = Desk(app)
    begin(desk)
    assert desk.get("/sign-in/provider/back", code="c", state=state).status_code == 403
    assert not provider.asked


@pytest.mark.parametrize("cookie", [None, "", "x", "W10=", "bnVsbA==", "eyJhIjoxfQ==", "\xff"])
def test_sign_in_that_another_browser_began_is_refused(app: Flask, provider: FakeProvider, cookie: str | None) -> None:
    state = begin(Desk(app))["state"]
    desk = Desk(app)
    if cookie is not None:
        desk.client.set_cookie(COOKIE, cookie, path="/sign-in/provider")
    assert desk.get("/sign-in/provider/back", code="c", state=state).status_code == 403
    assert not provider.asked


def test_refusal_of_the_provider_is_told(app: Flask, provider: FakeProvider) -> None:
    desk = Desk(app)
    answer = desk.get("/sign-in/provider/back", error="access_denied", state=begin(desk)["state"])
    assert answer.status_code == 403
    assert "The provider has not signed you in." in answer.text


def test_way_back_leads_to_our_own_pages_only(app: Flask, provider: FakeProvider) -> None:
    for wanted, leads in (("/orders?a=1&b=2", "/orders?a=1&amp;b=2"), ("//evil.example", "/")):
        desk = Desk(app)
        told = begin(desk, next=wanted)
        sign_in_again = {"nonce": told["nonce"], "iss": ISSUER, "aud": "console", "sub": "1", "iat": int(time.time())}
        provider.claims = sign_in_again | {"exp": int(time.time()) + 60, "preferred_username": "a", "roles": "ops"}
        answer = desk.get("/sign-in/provider/back", code="c", state=told["state"])
        assert f'content="0; url={leads}"' in answer.text


@pytest.mark.parametrize("fault", [
    {"body": requests.ConnectionError("no way")}, {"body": requests.ReadTimeout("slow")}, {"status": 500, "body": "x"},
    {"status": 200, "body": "no JSON"}, {"status": 200, "json": {"issuer": "https://evil.example"}},
])  # fmt: skip
def test_provider_that_does_not_answer_is_told(console_with: Callable[..., Flask], fault: dict[str, Any]) -> None:
    with responses.RequestsMock() as network:
        network.add(responses.GET, f"{ISSUER}/.well-known/openid-configuration", **fault)
        answer = Desk(console_with(**SETTINGS)).get("/sign-in/provider")
    assert (answer.status_code, answer.mimetype) == (503, "text/html")


def test_provider_that_does_not_answer_is_not_asked_by_everybody(
    app: Flask, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{ISSUER}/.well-known/openid-configuration"
    provider.network.replace(responses.GET, address, body=requests.ReadTimeout("slow"))
    assert [Desk(app).get("/sign-in/provider").status_code for _ in range(3)] == [503] * 3
    assert len(provider.network.calls) == 1
    provider.network.replace(responses.GET, address, json=METADATA)
    monkeypatch.setattr("console.oidc.FAILED_S", 0)
    assert Desk(app).get("/sign-in/provider").status_code == 303


def test_fault_while_the_code_is_exchanged(app: Flask, provider: FakeProvider) -> None:
    desk = Desk(app)
    state = begin(desk)["state"]
    for fault, status in (
        ({"body": requests.ReadTimeout("slow")}, 503),
        ({"status": 400, "json": {"error": "invalid_grant"}}, 403),
        ({"status": 200, "body": "no JSON"}, 403),
        ({"status": 200, "json": {"access_token": "x", "token_type": "Bearer"}}, 403),
    ):
        provider.network.replace(responses.POST, f"{ISSUER}/token", **fault)
        assert desk.get("/sign-in/provider/back", code="c", state=state).status_code == status, fault


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_needed_together(settings: Callable[..., Any], name: str) -> None:
    with pytest.raises(SettingError, match=rf"is set without {name}: nobody could sign in"):
        settings(**SETTINGS | {name: ""})
