"""Default addresses: where processes listen and find each other without settings."""

from __future__ import annotations

import pytest

from common.process import addresses
from common.process.settings import Settings
from tests.system.stack import PROJECT

DATABASE = {"DATABASE_URL": "postgresql:///x", "SERVICE_TOKEN_KEYS": "k" * 32}
PARTICIPANTS = ["orders_service", "inventory_service", "payments_service"]


def urls(settings: Settings) -> list[str]:
    return [settings.orders_service_url, settings.inventory_service_url, settings.payments_service_url]


def test_process_order_matches_the_procfile() -> None:
    lines = [line.partition(":")[0] for line in (PROJECT / "Procfile").read_text().splitlines()]
    assert lines[: len(addresses.LINES)] == list(addresses.LINES)


@pytest.mark.parametrize("manager", ["HONCHO_PROCESS_NAME", "FOREMAN_WORKER_NAME"])
@pytest.mark.parametrize(("process", "port"), [("web.1", 5000), ("web.3", 5002), ("orchestrator.2", 5501)])
def test_participants_are_found_under_a_process_manager(manager: str, process: str, port: int) -> None:
    settings = Settings.load({**DATABASE, manager: process, "PORT": str(port)})
    assert urls(settings) == [f"http://127.0.0.1:{5000 + 100 * number}" for number in (1, 2, 3)]


@pytest.mark.parametrize(("name", "port"), [*zip(PARTICIPANTS, (8100, 8200, 8300), strict=True)])
def test_participant_listens_on_loopback_where_the_others_look_for_it(name: str, port: int) -> None:
    settings = Settings.load(DATABASE, name)
    assert (settings.bind_host, settings.port) == ("127.0.0.1", port)
    assert f"http://127.0.0.1:{port}" in urls(settings)


def test_console_listens_on_loopback() -> None:
    settings = Settings.load(DATABASE, "console")
    assert (settings.bind_host, settings.port) == ("127.0.0.1", 8400)


@pytest.mark.parametrize("name", ["edge_api", *PARTICIPANTS, "console"])
def test_settings_win(name: str) -> None:
    told = {"PORT": "9000", "BIND_HOST": "0.0.0.0", "ORDERS_SERVICE_URL": "http://orders.internal"}
    settings = Settings.load({**DATABASE, **told}, name)
    assert (settings.bind_host, settings.port) == ("0.0.0.0", 9000)
    assert settings.orders_service_url == "http://orders.internal"


def test_participants_are_called_at_bind_host() -> None:
    assert Settings.load({**DATABASE, "BIND_HOST": "10.0.0.5"}).orders_service_url == "http://10.0.0.5:8100"
    assert Settings.load({**DATABASE, "BIND_HOST": "::"}).orders_service_url == "http://[::1]:8100"


@pytest.mark.parametrize("environ", [{"HONCHO_PROCESS_NAME": "worker.1"}, {"HONCHO_PROCESS_NAME": "web.1", "PORT": ""}])
def test_unknown_process_manager_changes_nothing(environ: dict[str, str]) -> None:
    assert urls(Settings.load({**DATABASE, **environ})) == urls(Settings.load(DATABASE))


def test_gunicorn_knows_its_service_from_its_arguments() -> None:
    arguments = ["gunicorn", "--config", "gunicorn.conf.py", "payments_service.app:create_app()"]
    assert addresses.service_of(arguments) == "payments_service"
    assert addresses.service_of(["gunicorn", "edge_api.app:create_app()"]) == "edge_api"
