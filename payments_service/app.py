"""The payments service's wiring."""

from __future__ import annotations

from flask import Flask

from common.api.guards import service_guard
from common.api.service import create_service
from common.database.clock import DatabaseClock
from common.database.database import Database
from common.process.settings import SettingError, Settings
from payments_service.changes import Messages, RemoteChanges
from payments_service.gateways.simulated import SimulatedGateway
from payments_service.operations import AtOnce
from payments_service.reconciliation import Statements
from payments_service.remote import InSteps
from payments_service.routes import OF_GATEWAY, OF_SIMULATION, Context, api


def create_app(settings: Settings | None = None, gateway: SimulatedGateway | None = None) -> Flask:
    """The WSGI application; settings from the environment unless given.

    :raises SettingError: a setting is missing or out of range
    """
    settings = settings or Settings.load(process="payments_service")
    database = Database(settings.database_url, name="payments_service", size=settings.web_threads)
    context = _simulated(database, gateway) if gateway else _context(settings, database)
    guard = service_guard(settings.service_token_keys, "payments_service", DatabaseClock(database))
    is_test = settings.payment_gateway == "simulated" and settings.app_env != "production"
    served = api if is_test else api.without(OF_SIMULATION)
    served = served if context.messages else served.without(OF_GATEWAY)
    return create_service("payments_service", served, context, settings, database, guard)


def _context(settings: Settings, database: Database) -> Context:
    if settings.payment_gateway == "stripe":
        return _stripe(settings, database)
    return _simulated(database, SimulatedGateway(settings.mock_latency_ms / 1000, settings.mock_failure_rate))


def _simulated(database: Database, gateway: SimulatedGateway) -> Context:
    return Context(database, AtOnce(database, gateway), Statements(None))


def _stripe(settings: Settings, database: Database) -> Context:
    try:
        from payments_service.gateways.stripe_api import StripeGateway  # noqa: PLC0415  # 40 MB that others save
        from payments_service.gateways.stripe_messages import Inbox  # noqa: PLC0415
    except ImportError as error:
        raise SettingError(
            "PAYMENT_GATEWAY is stripe, and its library is not installed: pip install -r locked/stripe.txt"
        ) from error
    gateway = StripeGateway(settings.stripe_api_key, settings.stripe_api_base)
    secret = settings.stripe_webhook_secret
    return Context(
        database,
        InSteps(database, gateway),
        Statements(gateway),
        RemoteChanges(database, gateway),
        Messages(database, Inbox(secret)) if secret else None,
    )
