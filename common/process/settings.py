"""Every setting of every process: its name, its default and its meaning. Nothing else reads the environment.

A test compares docs/settings.md with this file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from common.process import addresses, consistency, gateway, production, traces
from common.process.parsers import (
    Network,
    boolean,
    ca_bundle,
    choice,
    currency,
    database_url_or_nothing,
    days,
    http_url,
    http_url_or_nothing,
    networks,
    number,
    on_or_off,
    port_or_nothing,
    roles_of_groups,
    secret_list,
    stripe_key,
    stripe_webhook_secret,
    url_path,
    webhook_secret,
    webhook_url,
    whole,
)

NO_DATABASE = "DATABASE_URL is not set: the PostgreSQL that all processes share"
NO_TOKEN_KEYS = (
    "SERVICE_TOKEN_KEYS is not set: the secret, of 32 characters or more, with which the services recognize each other"
)
FORMER = {"API_KEYS": "make each client a key with `python -m ops keys create`"}
CALLS_OTHERS = (*addresses.SERVICES, "orchestrator")


class SettingError(Exception):
    """A setting is missing or out of range. The message names the variable and says what it may be."""


def setting(parse: Callable[[str], Any], default: str | None, doc: str) -> Any:
    """A field of Settings, read from the variable that has the field's name in capitals. Default None: required."""
    return field(metadata={"parse": parse, "default": default, "doc": doc})


@dataclass(frozen=True, kw_only=True)
class Settings:
    database_url: str = setting(
        database_url_or_nothing,
        "",
        "the PostgreSQL that all processes share; required, unless the process has an address of its own",
    )
    database_direct_url: str = setting(
        database_url_or_nothing,
        "",
        "the same database without a pooler, for migrations, `LISTEN` and the audit; empty: `DATABASE_URL`",
    )
    edge_api_database_url: str = setting(
        database_url_or_nothing, "", "the same database with the role of the Edge API; empty: `DATABASE_URL`"
    )
    orders_service_database_url: str = setting(database_url_or_nothing, "", "the same for the orders service")
    inventory_service_database_url: str = setting(database_url_or_nothing, "", "the same for the inventory service")
    payments_service_database_url: str = setting(database_url_or_nothing, "", "the same for the payments service")
    orchestrator_database_url: str = setting(database_url_or_nothing, "", "the same for the orchestrator")
    orchestrator_database_direct_url: str = setting(
        database_url_or_nothing,
        "",
        "the orchestrator's address without a pooler, for `LISTEN`; empty: `ORCHESTRATOR_DATABASE_URL`",
    )
    console_database_url: str = setting(database_url_or_nothing, "", "the same for the console")
    webhooks_database_url: str = setting(database_url_or_nothing, "", "the same for the process `webhooks`")
    audit_database_url: str = setting(
        database_url_or_nothing,
        "",
        "the same for commands that only read: `check`, `audit`, `reconcile`, list `attention`",
    )
    bind_host: str = setting(
        str,
        "0.0.0.0",
        "address a web process listens on; for the participants, the console, and with `make run`: 127.0.0.1",
    )
    port: int = setting(
        whole(1, 65535),
        "8000",
        "port a web process listens on; for the participants: 8100, 8200 and 8300; for the console: 8400",
    )
    metrics_port: int = setting(
        port_or_nothing,
        "",
        "port of `/metrics` of this process, at `BIND_HOST`; it must not be public; empty: no metrics",
    )
    web_concurrency: int = setting(whole(1, 64), "2", "gunicorn workers of each web process")
    web_threads: int = setting(whole(1, 256), "8", "threads of each gunicorn worker")
    web_worker: str = setting(
        choice("holdfast", "gthread"), "holdfast", "`gthread`: gunicorn's own worker, for use behind deploy/nginx.conf"
    )
    log_level: str = setting(choice("DEBUG", "INFO", "WARNING", "ERROR"), "INFO", "least severe line that is logged")
    log_format: str = setting(choice("json", "text"), "json", "one JSON object a line, or text for a person")
    orders_service_url: str = setting(http_url, "http://127.0.0.1:8100", "where the orders service is")
    inventory_service_url: str = setting(http_url, "http://127.0.0.1:8200", "where the inventory service is")
    payments_service_url: str = setting(http_url, "http://127.0.0.1:8300", "where the payments service is")
    requests_ca_bundle: str = setting(
        ca_bundle, "", "file or folder with the certificates to trust for services at `https://` addresses"
    )
    ssl_cert_file: str = setting(ca_bundle, "", "the same, where `REQUESTS_CA_BUNDLE` is not set")
    service_token_keys: tuple[str, ...] = setting(
        secret_list,
        "",
        "secrets of 32 characters or more, separated by commas, that sign the calls between services; the first one "
        "signs, and all verify. Required by all processes but `release`",
    )
    currency: str = setting(
        currency, "USD", "ISO 4217 code of the prices of products that are created without a currency"
    )
    max_backlog_age_s: float = setting(
        number(1, 86_400),
        "300",
        "Edge API: new orders are answered 503 `busy` while authorized orders wait for longer than this",
    )
    rate_limit_per_minute: int = setting(
        whole(0, 1_000_000), "0", "orders a client may post in a minute (token bucket); 0: no limit"
    )
    requests_per_minute_per_key: int = setting(
        whole(0, 1_000_000), "0", "Edge API: requests that a key may send in a minute (token bucket); 0: no limit"
    )
    requests_per_minute_per_address: int = setting(
        whole(0, 1_000_000), "0", "Edge API: the same for the address of a client"
    )
    failed_authentications_per_minute: int = setting(
        whole(0, 1_000_000), "30", "Edge API: refused credentials of one address in a minute; 0: no limit"
    )
    declines_per_hour: int = setting(
        whole(0, 1_000_000),
        "20",
        "Edge API: declined payments in an hour after which a key, or an address, may place no order; 0: no limit",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        networks,
        "",
        "networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed; empty: nobody's",
    )
    notify_coalesce_ms: int = setting(
        whole(0, 10_000), "0", "Edge API: at most one notification in this time from each worker; 0: one for each order"
    )
    payment_gateway: str = setting(choice("simulated", "stripe"), "simulated", "payments: what moves the money")
    stripe_api_key: str = setting(stripe_key, "", "payments: the secret or restricted key of the Stripe account")
    stripe_webhook_secret: str = setting(
        stripe_webhook_secret,
        "",
        "payments: the secret of Stripe's webhook endpoint; empty: its messages are not taken",
    )
    stripe_api_base: str = setting(http_url, "https://api.stripe.com", "payments: where Stripe is")
    stripe_live_key: str = setting(
        choice("production", "allow"), "production", "payments: `allow`: a live key may be used outside production"
    )
    mock_latency_ms: int = setting(whole(0, 60_000), "0", "payments: slept in every call that moves money")
    mock_failure_rate: float = setting(
        number(0, 1), "0", "payments: share of these calls that answers 503, half of them after the effect"
    )
    worker_threads: int = setting(whole(1, 256), "16", "orchestrator: sagas in flight at once, each on its own thread")
    poll_interval_s: float = setting(number(0.05, 3600), "5", "orchestrator: how often it looks without being notified")
    gateway_poll_interval_s: float = setting(
        number(0.05, 3600), "60", "orchestrator: how often it asks what the payment gateway has changed by itself"
    )
    retry_base_s: float = setting(number(0.001, 3600), "1", "orchestrator: delay after the first unanswered attempt")
    retry_factor: float = setting(number(1, 100), "4", "orchestrator: each further delay is this many times longer")
    retry_max_attempts: int = setting(
        whole(1, 20), "5", "orchestrator: unanswered attempts at a step before it is undone"
    )
    retry_jitter: float = setting(
        number(0, 1), "0.1", "orchestrator: share of a delay that is added at random, at most"
    )
    lease_s: float = setting(
        number(0.2, 3600),
        "30",
        "how long a claimed order is left to its worker; at least 27, so that two calls of 10 s fit in",
    )
    abandoned_after_s: float = setting(
        number(0.05, 86_400),
        "60",
        "how long an unauthorized order waits for its client before it is closed; at least `LEASE_S`",
    )
    webhook_threads: int = setting(
        whole(1, 256), "32", "webhooks: deliveries in flight at once, each on its own thread"
    )
    webhook_in_flight_per_endpoint: int = setting(
        whole(1, 64), "8", "webhooks: deliveries to one endpoint at once; an endpoint that fails has one"
    )
    webhook_timeout_s: float = setting(
        number(0.1, 15), "15", "webhooks: how long a receiver may take to answer, from the name to the last header"
    )
    webhook_lease_s: float = setting(
        number(1, 3600),
        "60",
        "webhooks: how long a claimed delivery is left to its process; more than `WEBHOOK_TIMEOUT_S`, as resolving the"
        " receiver's name takes time too",
    )
    webhook_poll_interval_s: float = setting(
        number(0.05, 60), "1", "webhooks: how often the process looks for new events and due deliveries"
    )
    webhook_allow_networks: tuple[Network, ...] = setting(
        networks, "", "networks that are not public, to which webhooks may be delivered nevertheless; empty: none"
    )
    console_path: str = setting(
        url_path, "", "console: the path under which a proxy shows it, such as `/ops/holdfast`; empty: at the root"
    )
    console_read_only: bool = setting(
        on_or_off, "off", "console: `on`: nothing can be changed, whatever role an operator has"
    )
    alert_webhook_url: str = setting(
        webhook_url, "", "webhooks: where operators are told of what needs them; a secret; empty: nobody is told"
    )
    alert_webhook_format: str = setting(
        choice("json", "slack"), "json", 'webhooks: `slack`: what is sent is `{"text": …}`'
    )
    alert_webhook_secret: str = setting(
        webhook_secret, "", "webhooks: signs what operators are told; empty: it is not signed"
    )
    holdfast_console_url: str = setting(
        http_url_or_nothing, "", "where the console is, for the links in what operators are told; empty: no links"
    )
    console_oidc_issuer: str = setting(
        http_url_or_nothing, "", "console: the OpenID provider with which operators sign in; empty: with keys only"
    )
    console_oidc_client_id: str = setting(str, "", "console: its id at that provider")
    console_oidc_client_secret: str = setting(str, "", "console: its secret there")
    console_oidc_roles: tuple[tuple[str, str], ...] = setting(
        roles_of_groups, "", "console: which groups have which role, such as `admin=ops-admins,viewer=staff`"
    )
    app_env: str = setting(
        choice("development", "test", "staging", "production"),
        "development",
        "`production` refuses weak secrets and settings for tests",
    )
    retain_orders_days: int = setting(
        days(30), "0", "how long a finished order is kept, with all that belongs to it; 0: forever"
    )
    retain_history_days: int = setting(
        days(7), "0", "how long the history of a finished order is kept; 0: as the order"
    )
    retain_outbox_days: int = setting(
        days(30), "0", "how long the outbox event of a finished order is kept; 0: as the order"
    )
    retain_events_days: int = setting(days(30), "30", "how long an event is kept in the feed; 0: as long as its order")
    retain_answers_days: int = setting(
        days(1), "0", "how long the response to a request can be repeated; 0: as long as its order or key is kept"
    )
    retain_keys_days: int = setting(
        days(400), "0", "how long a key is refused after its order was deleted, from its first use; 0: forever"
    )
    otel_exporter_otlp_endpoint: str = setting(
        http_url_or_nothing, "", "the collector of OpenTelemetry that traces are sent to; empty: nothing is traced"
    )
    otel_exporter_otlp_traces_endpoint: str = setting(
        http_url_or_nothing, "", "the same with its whole path, for traces only"
    )
    otel_sdk_disabled: bool = setting(boolean, "false", "`true`: nothing is traced, whatever the other settings say")
    otel_service_name: str = setting(
        str, "", "the name of the processes in traces; empty: each has its own, such as `holdfast-edge_api`"
    )
    otel_traces_sampler_arg: float = setting(
        number(0, 1), "1", "share of the orders whose traces are exported"
    )
    holdfast_operator: str = setting(
        str, "", "who runs a command of `ops`, for the record of operators; empty: the user and the host"
    )
    crash_at: str = setting(
        str, "", "tests: `POINT` or `POINT:N`, where a process of this service is to kill itself, once"
    )

    @property
    def ca_bundle(self) -> str:
        """Empty: the usual certificates."""
        return self.requests_ca_bundle or self.ssl_cert_file

    @property
    def traces_are_on(self) -> bool:
        has_collector = bool(self.otel_exporter_otlp_endpoint or self.otel_exporter_otlp_traces_endpoint)
        return has_collector and not self.otel_sdk_disabled

    def database_names(self, process: str) -> dict[str, str]:
        """The variables that a process's addresses of the database come from."""
        own = f"{process}_database_url"
        if not getattr(self, own, ""):
            return {"url": "DATABASE_URL", "direct_url": "DATABASE_DIRECT_URL"}
        return {"url": own.upper(), "direct_url": f"{process}_database_direct_url".upper()}

    @classmethod
    def given(cls, environ: Mapping[str, str] | None = None) -> list[str]:
        """The names of the settings that are set."""
        environ = os.environ if environ is None else environ
        return [each.name.upper() for each in fields(cls) if environ.get(each.name.upper(), "").strip()]

    @classmethod
    def not_read_any_more(cls, environ: Mapping[str, str] | None = None) -> list[str]:
        """A sentence for each setting of former releases that is set."""
        environ = os.environ if environ is None else environ
        given = [name for name in FORMER if environ.get(name)]
        return [f"{name} is set and not read any more: {FORMER[name]}" for name in given]

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, process: str = "") -> Settings:
        """Read and check every setting.

        :param process: `edge_api`, `orchestrator`, …: its own database address becomes `database_url`, and a
            participant has its own default for where it listens. `audit`: a command that only reads
        :raises SettingError: one line for each setting that is missing or wrong. Values of single settings are not
            repeated, as they may contain a password.
        """
        environ = os.environ if environ is None else environ
        defaults = addresses.defaults(environ, process)
        values, problems = {}, []
        for each in fields(cls):
            try:
                values[each.name] = _read(each, environ, defaults)
            except SettingError as error:
                problems.append(str(error))
        if process in CALLS_OTHERS and values.get("service_token_keys") == ():
            problems.append(NO_TOKEN_KEYS)
        if values.get("database_url") == "" and not values.get(f"{process}_database_url"):
            problems.append(NO_DATABASE)
        if not problems:
            settings = cls(**(values | _databases(values, process)))
            problems = [*consistency.problems(settings), *traces.problems(settings)]
            if process == "payments_service":
                problems += gateway.problems(settings)
            if settings.app_env == "production":
                problems += production.problems(settings, environ, settings.database_names(process))
        if problems:
            raise SettingError("\n".join(problems)) from None
        return settings

    @classmethod
    def read(cls, name: str, environ: Mapping[str, str] | None = None) -> Any:
        """One setting by its field's name, whatever the others are. :raises SettingError: it is missing or wrong"""
        (only,) = (each for each in fields(cls) if each.name == name)
        return _read(only, os.environ if environ is None else environ, {})


def _databases(values: Mapping[str, Any], process: str) -> dict[str, str]:
    """The database addresses of a process: its own, or else those that all share."""
    if own := values.get(f"{process}_database_url"):
        return {"database_url": own, "database_direct_url": values.get(f"{process}_database_direct_url") or own}
    shared = values["database_url"]
    return {"database_url": shared, "database_direct_url": values["database_direct_url"] or shared}


def _read(each: Field[Any], environ: Mapping[str, str], defaults: Mapping[str, str]) -> Any:
    name = each.name.upper()
    text = environ.get(name, "").strip() or defaults.get(name) or each.metadata["default"]
    if text is None:
        raise SettingError(f"{name} is not set: {each.metadata['doc']}")
    try:
        return each.metadata["parse"](text)
    except ValueError as error:
        raise SettingError(f"{name} must be {error}") from None
