"""What stops the start where APP_ENV is production."""

from __future__ import annotations

import secrets

import pytest

from common.process.production import SHORTEST_KEY, weakness
from common.process.settings import SettingError, Settings

STRONG = secrets.token_urlsafe(24)
GOOD = {
    "APP_ENV": "production",
    "DATABASE_URL": f"postgresql://shop:{STRONG}@db.example/x?sslmode=verify-full",
    "SERVICE_TOKEN_KEYS": secrets.token_urlsafe(48),
}
FOR_TESTS = {
    "CRASH_AT": "edge.before_t1",
    "LOG_LEVEL": "DEBUG",
    "FLASK_DEBUG": "1",
    "MOCK_FAILURE_RATE": "0.1",
    "MOCK_LATENCY_MS": "1",
}
WEAK = ["", "hunter2", "changeme-changeme", "holdfast1234", "a" * 40, "abcabcabcabcabc", "postgres-2024"]
LOCAL = ["", "localhost", "127.0.0.1", "127.0.1.1", "[::1]", "localhost:5433,127.0.0.1"]


def refused(process: str = "", **environ: str) -> list[str]:
    with pytest.raises(SettingError) as caught:
        Settings.load(GOOD | environ, process)
    assert STRONG not in str(caught.value)
    return str(caught.value).splitlines()


def test_good_settings_start() -> None:
    assert Settings.load(GOOD).app_env == "production"


@pytest.mark.parametrize("name", FOR_TESTS)
def test_setting_for_tests_stops_the_start(name: str) -> None:
    (line,) = refused(**{name: FOR_TESTS[name]})
    assert line.startswith(f"{name} must ")
    assert Settings.load(GOOD | {"APP_ENV": "staging", name: FOR_TESTS[name]})


def test_alerts_are_sent_over_tls_only() -> None:
    (line,) = refused(ALERT_WEBHOOK_URL="http://hooks.example/T0")
    assert line.startswith("ALERT_WEBHOOK_URL must begin with https:// ")
    assert "T0" not in line
    assert Settings.load(GOOD | {"ALERT_WEBHOOK_URL": "https://hooks.example/T0"})


def test_provider_without_tls_stops_the_start() -> None:
    others = {"CONSOLE_OIDC_CLIENT_ID": "c", "CONSOLE_OIDC_CLIENT_SECRET": "s", "CONSOLE_OIDC_ROLES": "viewer=staff"}
    (line,) = refused(CONSOLE_OIDC_ISSUER="http://id.example", **others)
    assert line.startswith("CONSOLE_OIDC_ISSUER must be an https:// address ")
    assert Settings.load(GOOD | others | {"CONSOLE_OIDC_ISSUER": "https://id.example"})


@pytest.mark.parametrize("password", WEAK)
def test_password_that_can_be_guessed_stops_the_start(password: str) -> None:
    (line,) = refused(DATABASE_URL=f"postgresql://shop:{password or '%20'}@db.example/x?sslmode=require")
    assert line.startswith("DATABASE_URL has a password that can be guessed: ")
    assert not password or password not in line


@pytest.mark.parametrize(
    "key", ["a" * 48, "0123456789" * 4, "changeme" + "x7Kq" * 7, "your-secret-key-goes-here-1234567890"]
)
def test_token_key_that_can_be_guessed_stops_the_start(key: str) -> None:
    (line,) = refused(SERVICE_TOKEN_KEYS=f"{GOOD['SERVICE_TOKEN_KEYS']},{key}")
    assert line.startswith("SERVICE_TOKEN_KEYS has a secret that can be guessed: ")
    assert key not in line
    assert Settings.load(GOOD | {"APP_ENV": "staging", "SERVICE_TOKEN_KEYS": key})


@pytest.mark.parametrize(
    "process", ["edge_api", "orders_service", "inventory_service", "payments_service", "orchestrator"]
)
def test_missing_token_key_stops_the_start(process: str) -> None:
    (line,) = refused(process, SERVICE_TOKEN_KEYS="")
    assert line.startswith("SERVICE_TOKEN_KEYS ")


def test_all_problems_are_told_at_once() -> None:
    lines = refused(LOG_LEVEL="DEBUG", CRASH_AT="edge", DATABASE_URL="postgresql://shop:short@db.example/x")
    assert [line.split()[0] for line in lines] == ["CRASH_AT", "LOG_LEVEL", "DATABASE_URL", "DATABASE_URL"]


@pytest.mark.parametrize("host", ["db.example", "10.0.0.7", "localhost,db.example"])
def test_password_is_not_sent_to_another_host_without_a_decision_on_tls(host: str) -> None:
    url = f"postgresql://shop:{STRONG}@{host}/x"
    (line,) = refused(DATABASE_URL=url)
    assert line.startswith("DATABASE_URL must say how the connection is encrypted ")
    assert Settings.load(GOOD | {"DATABASE_URL": url, "PGSSLMODE": "require"})
    for mode in ("disable", "require", "verify-full"):
        assert Settings.load(GOOD | {"DATABASE_URL": f"{url}?sslmode={mode}"})


@pytest.mark.parametrize(
    ("parameters", "environ"),
    [
        ("?hostaddr=192.0.2.1", {}),
        ("", {"PGHOSTADDR": "192.0.2.1"}),
        ("?service=far", {}),
        ("", {"PGSERVICE": "far"}),
    ],
)
def test_host_that_is_named_elsewhere_needs_a_decision_on_tls_too(parameters: str, environ: dict[str, str]) -> None:
    (line,) = refused(DATABASE_URL=f"postgresql://shop:{STRONG}@localhost/x{parameters}", **environ)
    assert line.startswith("DATABASE_URL must say how the connection is encrypted ")


def test_host_of_the_environment_needs_a_decision_on_tls() -> None:
    (line,) = refused(DATABASE_URL=f"postgresql://shop:{STRONG}@/x", PGHOST="db.example")
    assert line.startswith("DATABASE_URL must say how the connection is encrypted ")


def test_password_of_the_environment_must_not_be_guessed() -> None:
    url = "postgresql://shop@db.example/x?sslmode=require"
    (line,) = refused(DATABASE_URL=url, PGPASSWORD="changeme-changeme")
    assert line.startswith("PGPASSWORD has a password that can be guessed: ")
    assert Settings.load(GOOD | {"DATABASE_URL": url, "PGPASSWORD": STRONG})


@pytest.mark.parametrize("host", LOCAL)
def test_database_on_this_machine_needs_no_tls(host: str) -> None:
    assert Settings.load(GOOD | {"DATABASE_URL": f"postgresql://shop:{STRONG}@{host}/x"})


def test_message_names_the_variable_of_the_process() -> None:
    own = f"postgresql://role:{STRONG}@db.example/x"
    (line,) = refused("orchestrator", ORCHESTRATOR_DATABASE_URL=own)
    assert line.startswith("ORCHESTRATOR_DATABASE_URL must say ")
    direct = refused(
        "orchestrator", ORCHESTRATOR_DATABASE_URL=f"{own}?sslmode=require", ORCHESTRATOR_DATABASE_DIRECT_URL=own
    )
    assert [line.split()[0] for line in direct] == ["ORCHESTRATOR_DATABASE_DIRECT_URL"]


def test_random_secrets_are_strong() -> None:
    for _ in range(1000):
        assert weakness(secrets.token_urlsafe(32), SHORTEST_KEY) == ""
        assert weakness(secrets.token_hex(16), SHORTEST_KEY) == ""
