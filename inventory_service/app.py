"""The inventory service's application. Wiring only."""

from __future__ import annotations

from flask import Flask

from common.api.guards import service_guard
from common.api.service import create_service
from common.database.clock import DatabaseClock
from common.database.database import Database
from common.process.settings import Settings
from inventory_service.routes import Context, api


def create_app(settings: Settings | None = None) -> Flask:
    settings = settings or Settings.load(process="inventory_service")
    database = Database(settings.database_url, name="inventory_service", size=settings.web_threads)
    guard = service_guard(settings.service_token_keys, "inventory_service", DatabaseClock(database))
    return create_service("inventory_service", api, Context(database, settings.currency), settings, database, guard)
