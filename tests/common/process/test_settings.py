"""Every setting: its default, its valid values, the message for a bad value, and its row in docs/settings.md."""

import base64
import re
from dataclasses import fields
from pathlib import Path

import certifi
import pytest

from common.process import traces
from common.process.parsers import ESCAPES
from common.process.settings import SettingError, Settings

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"
URL = "postgresql://shop:hunter2@db.example/holdfast"
KEY = "ab" * 32
TOKEN_KEYS = {"SERVICE_TOKEN_KEYS": KEY}
SETTINGS = {each.name.upper(): each for each in fields(Settings)}

OWN_ADDRESSES = {
    "edge_api": "EDGE_API_DATABASE_URL",
    "orders_service": "ORDERS_SERVICE_DATABASE_URL",
    "inventory_service": "INVENTORY_SERVICE_DATABASE_URL",
    "payments_service": "PAYMENTS_SERVICE_DATABASE_URL",
    "orchestrator": "ORCHESTRATOR_DATABASE_URL",
    "console": "CONSOLE_DATABASE_URL",
    "webhooks": "WEBHOOKS_DATABASE_URL",
    "audit": "AUDIT_DATABASE_URL",
}
DEFAULTS = dict.fromkeys([*OWN_ADDRESSES.values(), "ORCHESTRATOR_DATABASE_DIRECT_URL"], "") | {
    "DATABASE_DIRECT_URL": URL,
    "BIND_HOST": "0.0.0.0",
    "PORT": 8000,
    "METRICS_PORT": 0,
    "WEB_CONCURRENCY": 2,
    "WEB_THREADS": 8,
    "WEB_WORKER": "holdfast",
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "json",
    "ORDERS_SERVICE_URL": "http://127.0.0.1:8100",
    "INVENTORY_SERVICE_URL": "http://127.0.0.1:8200",
    "PAYMENTS_SERVICE_URL": "http://127.0.0.1:8300",
    "REQUESTS_CA_BUNDLE": "",
    "SSL_CERT_FILE": "",
    "SERVICE_TOKEN_KEYS": (),
    "CURRENCY": "USD",
    "MAX_BACKLOG_AGE_S": 300.0,
    "RATE_LIMIT_PER_MINUTE": 0,
    "REQUESTS_PER_MINUTE_PER_KEY": 0,
    "REQUESTS_PER_MINUTE_PER_ADDRESS": 0,
    "FAILED_AUTHENTICATIONS_PER_MINUTE": 30,
    "DECLINES_PER_HOUR": 20,
    "TRUSTED_PROXIES": (),
    "NOTIFY_COALESCE_MS": 0,
    "PAYMENT_GATEWAY": "simulated",
    "STRIPE_API_KEY": "",
    "STRIPE_WEBHOOK_SECRET": "",
    "STRIPE_API_BASE": "https://api.stripe.com",
    "STRIPE_LIVE_KEY": "production",
    "MOCK_LATENCY_MS": 0,
    "MOCK_FAILURE_RATE": 0.0,
    "WORKER_THREADS": 16,
    "POLL_INTERVAL_S": 5.0,
    "GATEWAY_POLL_INTERVAL_S": 60.0,
    "RETRY_BASE_S": 1.0,
    "RETRY_FACTOR": 4.0,
    "RETRY_MAX_ATTEMPTS": 5,
    "RETRY_JITTER": 0.1,
    "LEASE_S": 30.0,
    "ABANDONED_AFTER_S": 60.0,
    "WEBHOOK_THREADS": 32,
    "WEBHOOK_IN_FLIGHT_PER_ENDPOINT": 8,
    "WEBHOOK_TIMEOUT_S": 15.0,
    "WEBHOOK_LEASE_S": 60.0,
    "WEBHOOK_POLL_INTERVAL_S": 1.0,
    "WEBHOOK_ALLOW_NETWORKS": (),
    "CONSOLE_PATH": "",
    "CONSOLE_READ_ONLY": False,
    "ALERT_WEBHOOK_URL": "",
    "ALERT_WEBHOOK_FORMAT": "json",
    "ALERT_WEBHOOK_SECRET": "",
    "HOLDFAST_CONSOLE_URL": "",
    "CONSOLE_OIDC_ISSUER": "",
    "CONSOLE_OIDC_CLIENT_ID": "",
    "CONSOLE_OIDC_CLIENT_SECRET": "",
    "CONSOLE_OIDC_ROLES": (),
    "APP_ENV": "development",
    "RETAIN_ORDERS_DAYS": 0,
    "RETAIN_HISTORY_DAYS": 0,
    "RETAIN_OUTBOX_DAYS": 0,
    "RETAIN_EVENTS_DAYS": 30,
    "RETAIN_ANSWERS_DAYS": 0,
    "RETAIN_KEYS_DAYS": 0,
    "OTEL_EXPORTER_OTLP_ENDPOINT": "",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "",
    "OTEL_SDK_DISABLED": False,
    "OTEL_SERVICE_NAME": "",
    "OTEL_TRACES_SAMPLER_ARG": 1.0,
    "HOLDFAST_OPERATOR": "",
    "CRASH_AT": "",
}
SHORTEST = {"ORDERS": 30, "HISTORY": 7, "OUTBOX": 30, "EVENTS": 30, "ANSWERS": 1, "KEYS": 400}  # days; 0: forever
RANGES = {
    "PORT": (1, 65535),
    "METRICS_PORT": (1, 65535),
    "WEB_CONCURRENCY": (1, 64),
    "WEB_THREADS": (1, 256),
    "WEBHOOK_THREADS": (1, 256),
    "WEBHOOK_IN_FLIGHT_PER_ENDPOINT": (1, 64),
    "WEBHOOK_TIMEOUT_S": (0.1, 15),
    "WEBHOOK_LEASE_S": (1, 3600),
    "WEBHOOK_POLL_INTERVAL_S": (0.05, 60),
    "MAX_BACKLOG_AGE_S": (1, 86_400),
    "RATE_LIMIT_PER_MINUTE": (0, 1_000_000),
    "REQUESTS_PER_MINUTE_PER_KEY": (0, 1_000_000),
    "REQUESTS_PER_MINUTE_PER_ADDRESS": (0, 1_000_000),
    "FAILED_AUTHENTICATIONS_PER_MINUTE": (0, 1_000_000),
    "DECLINES_PER_HOUR": (0, 1_000_000),
    "NOTIFY_COALESCE_MS": (0, 10_000),
    "MOCK_LATENCY_MS": (0, 60_000),
    "MOCK_FAILURE_RATE": (0, 1),
    "WORKER_THREADS": (1, 256),
    "POLL_INTERVAL_S": (0.05, 3600),
    "GATEWAY_POLL_INTERVAL_S": (0.05, 3600),
    "RETRY_BASE_S": (0.001, 3600),
    "RETRY_FACTOR": (1, 100),
    "RETRY_MAX_ATTEMPTS": (1, 20),
    "RETRY_JITTER": (0, 1),
    **{f"RETAIN_{name}_DAYS": (0, 36_500) for name in SHORTEST},
    "LEASE_S": (0.2, 3600),
    "ABANDONED_AFTER_S": (0.05, 86_400),
    "OTEL_TRACES_SAMPLER_ARG": (0, 1),
}
BAD_URL = ["127.0.0.1:8100", "ftp://127.0.0.1", "http://", "//127.0.0.1", "/var/run/x", "http://shop:hunter2@orders"]
NOT_A_NUMBER = ["four", "0x10", "nan", "inf", "-inf", "1,5", "1 000", "1e999"]
NOT_A_WHOLE_NUMBER = ["2.5", "1e1", "٣", "²", "-", "+-1"]
ADDRESSES = ["DATABASE_URL", "DATABASE_DIRECT_URL", "AUDIT_DATABASE_URL"]
UNESCAPED_PASSWORDS = [
    *["hunter/2", "hunter@2", "hunter%2", "hunter?2", "12/34", "12?port=34"],  # each special character alone
    *["hunter@2/3", "hunter?a=b", "a/b?c@d", "@", "/@"],
]
BAD_PARAMETERS = ["sslmod=require", "sslmode", "=x", "options=-csearch_path=shop", "Sslmode=require", "a b=c"]
BAD_VALUES = (
    [("DATABASE_URL", value) for value in ["holdfast", "mysql://db/x", "postgresql://", "http://db/x", "postgresx://a"]]
    + [(name, f"postgresql://shop:{each}@db/x") for name in ADDRESSES for each in UNESCAPED_PASSWORDS]
    + [(name, f"postgresql://shop@db/x?{each}") for name in ADDRESSES for each in BAD_PARAMETERS]
    + [(f"RETAIN_{name}_DAYS", str(days - 1)) for name, days in SHORTEST.items() if days > 1]
    + [("LOG_LEVEL", value) for value in ["info", "VERBOSE", "10"]]
    + [("CURRENCY", value) for value in ["usd", "XXX", "DOLLAR"]]
    + [
        (name, value)
        for name in ("TRUSTED_PROXIES", "WEBHOOK_ALLOW_NETWORKS")
        for value in ["proxy", "*", "0.0.0.0/0", "::/0", "10.0.0.1/8", "10.0.0.0/8 ::1"]
    ]
    + [("TRUSTED_PROXIES", value) for value in ["0.0.0.0/1,128.0.0.0/1", "8.0.0.0/8,9.0.0.0/8", "2000::/3"]]
    + [("LOG_FORMAT", value) for value in ["JSON", "xml"]]
    + [(name, value) for name in SETTINGS if name.endswith("SERVICE_URL") for value in BAD_URL]
    + [("PAYMENT_GATEWAY", value) for value in ["Simulated", "paypal"]]
    + [("STRIPE_API_KEY", value) for value in ["pk_test_1", "sk_test_", "sk_1", "sk_test_a b"]]
    + [("STRIPE_WEBHOOK_SECRET", value) for value in ["sk_test_1", "whsec_", "whsec_a b c d e"]]
    + [("STRIPE_LIVE_KEY", value) for value in ["yes", "Allow"]]
    + [("STRIPE_API_BASE", value) for value in BAD_URL]
    + [("CONSOLE_PATH", value) for value in ["ops", "/ops//holdfast", "/ops?x", "/ops/%2e", "/o ps", "https://x/ops"]]
    + [("CONSOLE_OIDC_ISSUER", value) for value in BAD_URL]
    + [("CONSOLE_OIDC_ROLES", value) for value in ["admin", "root=ops", "admin=", "admin=a b", "admin=a, viewer"]]
    + [("CONSOLE_READ_ONLY", value) for value in ["On", "true", "1", "yes"]]
    + [(name, value) for name in ("ALERT_WEBHOOK_URL", "HOLDFAST_CONSOLE_URL") for value in BAD_URL]
    + [("ALERT_WEBHOOK_URL", f"https://hooks.example/{each}") for each in ["a b", "ä", "x" * 2000]]
    + [("ALERT_WEBHOOK_FORMAT", value) for value in ["Slack", "text"]]
    + [("ALERT_WEBHOOK_SECRET", value) for value in ["whsec_", "whsec_a b", "whsec_" + "A" * 31, "A" * 44]]
    + [("ALERT_WEBHOOK_SECRET", "whsec_" + base64.b64encode(bytes(size)).decode()) for size in (23, 65)]
    + [(name, value) for name in SETTINGS if name.startswith("OTEL_EXPORTER") for value in BAD_URL]
    + [("OTEL_SDK_DISABLED", value) for value in ["1", "yes"]]
    + [("APP_ENV", value) for value in ["prod", "Production", "live"]]
    + [(name, __file__) for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")]
    + [("SERVICE_TOKEN_KEYS", value) for value in ["k" * 31, f"{KEY},short", f"{KEY} {KEY}", "k" * 256]]
    + [(name, value) for name in RANGES for value in NOT_A_NUMBER]
    + [(name, value) for name in RANGES if isinstance(DEFAULTS[name], int) for value in NOT_A_WHOLE_NUMBER]
    + [(name, str(low - 1)) for name, (low, _) in RANGES.items()]
    + [(name, str(high + 1)) for name, (_, high) in RANGES.items()]
)


def load(**environ):
    return Settings.load({"DATABASE_URL": URL, **environ})


def value_of(name, **environ):
    return getattr(load(**environ), name.lower())


@pytest.mark.parametrize("name", DEFAULTS)
def test_default_of_each_setting(name):
    assert value_of(name) == value_of(name, **{name: ""}) == DEFAULTS[name]


@pytest.mark.parametrize("environ", [{}, {"DATABASE_URL": ""}])
def test_database_url_is_required(environ):
    with pytest.raises(SettingError, match=r"^DATABASE_URL is not set: the PostgreSQL "):
        Settings.load(environ)


@pytest.mark.parametrize(("process", "name"), OWN_ADDRESSES.items())
def test_process_uses_its_own_database_address(process, name):
    own = "postgresql://holdfast_role:hunter2@db.example/holdfast"
    for shared in ({}, {"DATABASE_URL": URL, "DATABASE_DIRECT_URL": "postgresql://owner@direct.example/holdfast"}):
        settings = Settings.load({**shared, **TOKEN_KEYS, name: own}, process)
        assert (settings.database_url, settings.database_direct_url) == (own, own)
    others = {each: own for each in OWN_ADDRESSES.values() if each != name}
    assert Settings.load({"DATABASE_URL": URL, **TOKEN_KEYS, **others}, process).database_url == URL
    with pytest.raises(SettingError, match=r"^DATABASE_URL is not set: "):
        Settings.load(TOKEN_KEYS | others, process)


def test_orchestrator_listens_at_its_own_direct_address():
    own = {"ORCHESTRATOR_DATABASE_URL": URL, "ORCHESTRATOR_DATABASE_DIRECT_URL": "postgresql://o@direct/x"}
    settings = Settings.load(own | TOKEN_KEYS, "orchestrator")
    assert (settings.database_url, settings.database_direct_url) == (URL, "postgresql://o@direct/x")


@pytest.mark.parametrize(("name", "limits"), RANGES.items())
def test_limits_of_a_range_are_accepted(name, limits):
    assert [value_of(name, **{name: str(limit), "APP_ENV": "test"}) for limit in limits] == list(limits)


@pytest.mark.parametrize(("name", "days"), SHORTEST.items())
def test_shortest_retention_is_accepted(name, days):
    assert value_of(f"RETAIN_{name}_DAYS", **{f"RETAIN_{name}_DAYS": str(days)}) == days


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_bad_value_is_refused(name, value):
    with pytest.raises(SettingError, match=f"^{name} must be (a|an|one) "):
        load(**{name: value})


@pytest.mark.parametrize(
    "name", sorted(SETTINGS.keys() - {"BIND_HOST", "CRASH_AT", "HOLDFAST_OPERATOR", "OTEL_SERVICE_NAME"})
)
def test_a_bad_value_is_not_repeated(name):
    with pytest.raises(SettingError, match=f"^{name} ") as caught:
        load(**{name: "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "--5"),
        ("PORT", "9" * 5000),
        ("ORDERS_SERVICE_URL", "http://[hunter2]"),
        ("ORDERS_SERVICE_URL", "http://shop:hunter2@exa\u2100mple"),
    ],
)
def test_messages_of_python_parsers_are_not_repeated(name, value):
    with pytest.raises(SettingError, match=f"^{name} must be (a|an) (whole number|http)"):
        load(**{name: value})


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_traces_without_their_packages_are_refused(monkeypatch, name):
    environ = {name: "http://collector.example:4318"}
    assert load(**environ).traces_are_on
    monkeypatch.setattr(traces, "PACKAGES", ("holdfast-no-such-package",))
    with pytest.raises(SettingError, match=r"locked/traces\.txt"):
        load(**environ)
    assert not load(**environ, OTEL_SDK_DISABLED="true").traces_are_on


def test_every_setting_is_tested_here():
    assert set(SETTINGS) == {"DATABASE_URL", *DEFAULTS}
    numbers = {name for name, value in DEFAULTS.items() if type(value) in (int, float)}
    assert set(RANGES) == numbers


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgres+psycopg"])
def test_database_url_accepts_both_schemes(scheme):
    rest = "shop:p%40ss@db.example:5433/holdfast?sslmode=require"
    assert value_of("DATABASE_URL", DATABASE_URL=f"{scheme}://{rest}") == f"postgresql://{rest}"


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize("password", UNESCAPED_PASSWORDS)
def test_no_part_of_an_unescaped_password_is_repeated(name, password):
    url = f"postgresql://shop:{password}@db/x"
    with pytest.raises(SettingError) as caught:
        load(**{name: url})
    assert str(caught.value) == f"{name} must be {ESCAPES}"


@pytest.mark.parametrize(
    "parameters",
    [
        "sslmode=require&connect_timeout=3",
        "ssl=true",
        "options=-csearch_path%3Dshop",
        "host=/tmp&port=5433",
        "host=h1,h2&port=1,2&target_session_attrs=read-write",
        "application_name=shop%40home",
    ],
)
def test_parameters_of_a_database_url_are_kept(parameters):
    url = f"postgresql://shop:hunter2@/x?{parameters}"
    assert value_of("DATABASE_URL", DATABASE_URL=url) == url


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        ("sslmod=x", "without `sslmod`"),
        ("SSLMODE=x", "without `SSLMODE`"),
        ("options=-ca=b", "its parameter `options`"),
    ],
)
def test_a_wrong_parameter_is_named(parameter, says):
    with pytest.raises(SettingError, match=f"^DATABASE_URL must be an address .*{says}") as caught:
        load(DATABASE_URL=f"postgresql://shop:hunter2@db/x?sslmode=require&{parameter}")
    assert "hunter2" not in str(caught.value)


def test_the_direct_address_is_the_database_url_unless_it_is_set():
    other = "postgresql://db.example/direct"
    assert value_of("DATABASE_DIRECT_URL") == URL
    assert value_of("DATABASE_DIRECT_URL", DATABASE_DIRECT_URL="postgres://db.example/direct") == other
    assert value_of("DATABASE_URL", DATABASE_DIRECT_URL=other) == URL


@pytest.mark.parametrize("value", ["http://orders.internal", "https://orders:8443/base", "http://[::1]:8100"])
def test_trailing_slash_of_a_service_url_is_dropped(value):
    assert value_of("ORDERS_SERVICE_URL", ORDERS_SERVICE_URL=f"{value}/") == value


def test_slash_at_the_end_of_a_webhook_is_kept():
    assert value_of("ALERT_WEBHOOK_URL", ALERT_WEBHOOK_URL="https://hooks.example/a/") == "https://hooks.example/a/"


@pytest.mark.parametrize("size", [24, 64])
def test_secret_of_alerts_has_the_size_that_standard_webhooks_allows(size):
    secret = "whsec_" + base64.b64encode(bytes(size)).decode()
    assert value_of("ALERT_WEBHOOK_SECRET", ALERT_WEBHOOK_SECRET=secret) == secret


def test_service_token_keys_are_a_list():
    assert value_of("SERVICE_TOKEN_KEYS", SERVICE_TOKEN_KEYS=f"{KEY}, {'cd' * 32},") == (KEY, "cd" * 32)


@pytest.mark.parametrize("process", ["edge_api", "orders_service", "payments_service", "orchestrator"])
def test_service_token_keys_are_required_by_processes_that_call_each_other(process):
    with pytest.raises(SettingError, match=r"^SERVICE_TOKEN_KEYS is not set: the secret, "):
        Settings.load({"DATABASE_URL": URL}, process)


def test_trusted_proxies_are_networks_and_addresses():
    networks = value_of("TRUSTED_PROXIES", TRUSTED_PROXIES="10.0.0.0/8, 127.0.0.1,2001:db8::/32,")
    assert [str(network) for network in networks] == ["10.0.0.0/8", "127.0.0.1/32", "2001:db8::/32"]


def test_certificates_are_a_file_or_a_folder(tmp_path):
    for certificates in (certifi.where(), str(tmp_path)):
        assert load(REQUESTS_CA_BUNDLE=certificates, SSL_CERT_FILE="").ca_bundle == certificates
        assert load(SSL_CERT_FILE=certificates).ca_bundle == certificates
    assert load(REQUESTS_CA_BUNDLE=str(tmp_path), SSL_CERT_FILE=certifi.where()).ca_bundle == str(tmp_path)


def test_other_variables_are_ignored():
    assert load(PATH="/bin", HOLDFAST_API_KEY="x") == load()


def test_settings_come_from_the_environment_by_default(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("PORT", "9000")
    assert Settings.load().port == 9000


def table_of_settings():
    """name → default, as the documentation has it."""
    text = PAGE.read_text(encoding="utf-8")
    table = re.search(r"^\| Name +\| Default +\| Meaning +\|\n\|[-| :]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table, "the page has no table of settings"
    rows = re.findall(r"^\| `(\w+)` +\| (.*?) +\| .+ \|$", table[1], re.MULTILINE)
    assert len(rows) == len(table[1].splitlines())
    return dict(rows)


def shown(default):
    return {None: "required", "": "–"}.get(default, f"`{default}`")


def test_the_readme_has_the_same_settings_with_the_same_defaults():
    assert table_of_settings() == {name: shown(setting.metadata["default"]) for name, setting in SETTINGS.items()}
