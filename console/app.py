"""The console, where operators see and mend what runs. A process of its own, so that it cannot slow down a sale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

from common.api.service import create_service
from common.calls.client import ServiceClient
from common.credentials.service_tokens import Issuer
from common.database.clock import DatabaseClock
from common.database.database import Database
from common.process.settings import SettingError, Settings
from console.context import Console
from console.inventory import Inventory
from console.job_worker import JobWorker
from console.mounting import under_path
from console.operators import Operators
from console.pages import add_pages
from console.participants import Participants
from console.routes import api
from console.status import Board
from domain import refunds
from edge_api.notifier import Notifier
from edge_api.webhooks import Endpoints

if TYPE_CHECKING:
    from console.oidc import Provider

CONNECTIONS = 2
NOTIFY_WINDOW_S = 0.2  # a job wakes the orchestrators at most five times a second
# A page that takes longer is not worth its load.
LIMITS = {"statement_timeout": "2s", "lock_timeout": "1s"}


def create_app(settings: Settings | None = None) -> Flask:
    settings = settings or Settings.load(process="console")
    database = Database(settings.database_url, name="console", size=CONNECTIONS, limits=LIMITS)
    operators = Operators(database, is_read_only=settings.console_read_only)
    tokens = Issuer(settings.service_token_keys, "console", "inventory_service", DatabaseClock(database))
    calls = ServiceClient("inventory", settings.inventory_service_url, settings.ca_bundle, tokens.header)
    console = Console(
        database,
        operators,
        settings,
        board=Board(database, Participants.of(settings)),
        inventory=Inventory(calls),
        endpoints=Endpoints(database, only_https=settings.app_env == "production"),
        order_notifier=Notifier(database, NOTIFY_WINDOW_S),
        refund_notifier=Notifier(database, NOTIFY_WINDOW_S, refunds.CHANNEL),
        provider=_provider(settings),
    )
    app = create_service("console", api, console, settings, database, operators.guard, has_index=False)
    add_pages(app, console)
    under_path(app, settings.console_path)
    if not settings.console_read_only:
        app.config["BACKGROUND"] = (JobWorker(console),)
    return app


def _provider(settings: Settings) -> Provider | None:
    """:raises SettingError: its packages are not installed"""
    if not settings.console_oidc_issuer:
        return None
    try:
        from console.oidc import Provider  # noqa: PLC0415  # its packages are optional
    except ImportError as missing:
        raise SettingError(f"CONSOLE_OIDC_ISSUER needs `pip install 'holdfast[oidc]'`: {missing}") from None
    return Provider(settings)
