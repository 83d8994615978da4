"""The payments service's wiring."""

from __future__ import annotations

from flask import Flask

from common.api.guards import service_guard
from common.api.service import create_service
from common.database.clock import DatabaseClock
from common.database.database import Database
from common.process.settings import Settings
from payments_service.gateways.simulated import SimulatedGateway
from payments_service.operations import AtOnce
from payments_service.routes import OF_SIMULATION, Context, api


def create_app(settings: Settings | None = None, gateway: SimulatedGateway | None = None) -> Flask:
    """The WSGI application; settings from the environment unless given.

    :raises SettingError: a setting is missing or out of range
    """
    settings = settings or Settings.load(process="payments_service")
    gateway = gateway or SimulatedGateway(settings.mock_latency_ms / 1000, settings.mock_failure_rate)
    database = Database(settings.database_url, name="payments_service", size=settings.web_threads)
    guard = service_guard(settings.service_token_keys, "payments_service", DatabaseClock(database))
    served = api.without(OF_SIMULATION) if settings.app_env == "production" else api
    return create_service(
        "payments_service", served, Context(database, AtOnce(database, gateway)), settings, database, guard
    )
