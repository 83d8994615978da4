"""The Edge API, which a shop's back end calls."""

from __future__ import annotations

from flask import Flask

from common.api.service import create_service
from common.api.waits import Waits
from common.calls.client import ServiceClient
from common.database.database import Database
from common.process.settings import Settings
from edge_api.admission import Backlog, Bulkhead
from edge_api.clients import guard_of
from edge_api.gateways import Gateway, Gateways
from edge_api.limits import Limits
from edge_api.notifier import Notifier
from edge_api.operations import Edge
from edge_api.routes import api
from edge_api.store import Store


def create_app(settings: Settings | None = None) -> Flask:
    settings = settings or Settings.load()
    database = Database(settings.database_url, name="edge_api", size=settings.web_threads)
    store = Store(
        database,
        settings.lease_s,
        settings.abandoned_after_s,
        Notifier(database, settings.notify_coalesce_ms / 1000),
    )
    bulkhead = Bulkhead(settings.web_threads)
    limits = Limits(database, settings)
    edge = Edge(
        store=store,
        gateways=Gateways(
            inventory=Gateway(ServiceClient("inventory", settings.inventory_service_url, settings.ca_bundle), bulkhead),
            payments=Gateway(ServiceClient("payments", settings.payments_service_url, settings.ca_bundle), bulkhead),
        ),
        bulkhead=bulkhead,
        backlog=Backlog(store.backlog_age_s, settings.max_backlog_age_s),
        limits=limits,
        rate_limit_per_minute=settings.rate_limit_per_minute,
        waits=Waits(store.terminal, settings.web_threads, is_stopping=lambda: bool(app.config["IS_STOPPING"]())),
    )
    app = create_service("edge_api", api, edge, settings, database, limits.guard(guard_of(settings.api_keys)))
    return app
