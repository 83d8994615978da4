"""`holdfast ops` and `holdfast keys` against a console that listens, on the complete system in one thread."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from holdfast_client.cli.commands import holdfast
from tests.audit.small_world import SmallWorld
from tests.console.acting.conftest import completed, key_of, new_app, one_world, record, waiting

__all__ = ["completed", "key_of", "one_world", "record", "waiting"]  # fixtures
Command = Callable[..., Result]
BEAT = """
INSERT INTO process_heartbeats (instance, process, host, pid, version, started_at, seen_at, is_listening, open_breakers,
  pools, loops)
VALUES ('o-1', 'orchestrator', 'box', 7, '1.0', now() - interval '1 day', now() - %(ago)s::interval, %(is_listening)s,
  %(breakers)s, '{"orders": {"in_flight": 3, "threads": 16}}', '{}')
"""


class Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        pass


class Server:
    """An app that listens at `url`, until it is stopped."""

    def __init__(self, app: Flask) -> None:
        self._server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        """Also after it was stopped."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def console_app(url: str) -> Flask:
    """Each test has its own: the status is remembered for two seconds."""
    return new_app(url)


@pytest.fixture
def serve() -> Iterator[Callable[[Flask], Server]]:
    """`serve(app)`: it listens until the end of the test."""
    servers: list[Server] = []

    def start(app: Flask) -> Server:
        servers.append(Server(app))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(console_app: Flask, serve: Callable[[Flask], Server]) -> Server:
    return serve(console_app)


@pytest.fixture
def world(one_world: SmallWorld, server: Server) -> Iterator[SmallWorld]:
    one_world.reset()
    with one_world.network(re.compile(r"http://127\.0\.0\.1:")):
        yield one_world


@pytest.fixture
def worker(console_app: Flask, world: SmallWorld) -> Iterator[None]:
    """Jobs are worked on."""
    (worker,) = console_app.config["BACKGROUND"]
    worker.start()
    yield
    worker.stop()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder and the home of the user, with no settings in the environment."""
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def run(folder: Path, world: SmallWorld) -> Command:
    """`run("ops", "status")`: the command, without an address and a key."""

    def run(*words: str, **options: Any) -> Result:
        return CliRunner().invoke(holdfast, ["--retry-for", "0", *words], **options)

    return run


@pytest.fixture
def at_console(run: Command, server: Server, key_of: Callable[..., str]) -> Command:
    """`at_console("ops", "status", role="viewer")`: the command with the address and a key of this role."""
    keys: dict[str, str] = {}

    def at_console(*words: str, role: str, **options: Any) -> Result:
        keys[role] = keys.get(role) or key_of(role)
        settings = {"HOLDFAST_CONSOLE_URL": server.url, "HOLDFAST_OPERATOR_KEY": keys[role]}
        return run(*words, env=settings, **options)

    return at_console


@pytest.fixture
def ops(at_console: Command) -> Command:
    """`ops("status", role="viewer")`: `holdfast ops status` with a key of this role."""
    return lambda *words, role="operator", **options: at_console("ops", *words, role=role, **options)


@pytest.fixture
def beat(world: SmallWorld) -> Callable[..., None]:
    """`beat(ago="1 min")`: an orchestrator has given its sign of life."""
    usual = {"ago": "0 s", "is_listening": True, "breakers": []}
    return lambda **values: world.sql(BEAT, **{**usual, **values}) and None
