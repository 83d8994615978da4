"""The Edge API, which a shop's back end calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from flask import Flask

from common.api.service import create_service
from common.api.waits import Waits
from common.calls.client import ServiceClient
from common.credentials.service_tokens import Issuer
from common.database.clock import DatabaseClock
from common.database.database import Database
from common.process.settings import Settings
from domain import refunds
from edge_api import refund_store
from edge_api.admission import Backlog, Bulkhead
from edge_api.clients import Clients
from edge_api.limits import Limits
from edge_api.notifier import Notifier
from edge_api.operations import Edge
from edge_api.routes import api
from edge_api.services import GuardedService, Services
from edge_api.store import Store
from edge_api.webhooks import Endpoints

log = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> Flask:
    settings = settings or Settings.load(process="edge_api")
    for what in Settings.not_read_any_more():
        log.warning(what)
    database = Database(settings.database_url, name="edge_api", size=settings.web_threads)
    store = Store(
        database,
        settings.lease_s,
        settings.abandoned_after_s,
        Notifier(database, settings.notify_coalesce_ms / 1000),
    )
    bulkhead, clock = Bulkhead(settings.web_threads), DatabaseClock(database)
    limits = Limits(database, settings)

    def service(name: str, url: str) -> GuardedService:
        tokens = Issuer(settings.service_token_keys, "edge_api", f"{name}_service", clock)
        return GuardedService(ServiceClient(name, url, settings.ca_bundle, tokens.header), bulkhead)

    def waits(finished: Callable[[Collection[str]], Collection[str]]) -> Waits:
        return Waits(finished, settings.web_threads, is_stopping=lambda: bool(app.config["IS_STOPPING"]()))

    edge = Edge(
        store=store,
        services=Services(
            inventory=service("inventory", settings.inventory_service_url),
            payments=service("payments", settings.payments_service_url),
        ),
        bulkhead=bulkhead,
        backlog=Backlog(store.backlog_age_s, settings.max_backlog_age_s),
        limits=limits,
        rate_limit_per_minute=settings.rate_limit_per_minute,
        endpoints=Endpoints(database, only_https=settings.app_env == "production"),
        waits=waits(store.terminal),
        refund_waits=waits(lambda ids: refund_store.terminal(database, ids)),
        refund_notifier=Notifier(database, settings.notify_coalesce_ms / 1000, refunds.CHANNEL),
    )
    app = create_service("edge_api", api, edge, settings, database, limits.guard(Clients(database).guard))
    services = edge.services
    app.config["BREAKERS"] = {
        "inventory": services.inventory.is_held_back,
        "payments": services.payments.is_held_back,
    }
    return app
