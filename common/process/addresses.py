"""Default addresses: where each process listens and where the participants are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# In the order of the Procfile. Process managers (honcho, foreman) give PORT to the first line and 100 more to each
# further one; `make run` does the same.
LINES = ("web", "orders_service", "inventory_service", "payments_service", "console", "orchestrator", "webhooks")
PARTICIPANTS = LINES[1:4]
SERVICES = ("edge_api", *PARTICIPANTS, "console")
PORT_STEP = 100
DEFAULT_PORT = 8000
LOOPBACK = "127.0.0.1"
REACHED_AT = {"0.0.0.0": LOOPBACK, "::": "::1"}  # nobody can connect to "all addresses"


def url_of(bind_host: str, port: int) -> str:
    """The address at which a process that listens there is reached from this machine."""
    host = REACHED_AT.get(bind_host, bind_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def service_of(arguments: Sequence[str]) -> str:
    """`orders_service` for a gunicorn whose arguments name `orders_service.app:create_app()`; else empty."""
    return next((name for argument in arguments for name in SERVICES if argument.startswith(f"{name}.app:")), "")


def defaults(environ: Mapping[str, str], service: str = "") -> dict[str, str]:
    """Defaults for this process: the participants' addresses and, for a participant and the console, its own.

    Only services call a participant, and only operators the console, so they listen on this machine only unless
    BIND_HOST says otherwise.
    """
    base, host = _base_port(environ), environ.get("BIND_HOST") or LOOPBACK
    ports = {name: base + PORT_STEP * LINES.index(name) for name in (*PARTICIPANTS, "console")}
    own = {"BIND_HOST": LOOPBACK, "PORT": str(ports[service])} if service in ports else {}
    return own | {f"{name.upper()}_URL": url_of(host, ports[name]) for name in PARTICIPANTS}


def _base_port(environ: Mapping[str, str]) -> int:
    """The port of the Procfile's first line.

    Under a process manager it follows from our own port and line: the third process of the second line has
    base + 100 + 2.
    """
    manager_says = environ.get("HONCHO_PROCESS_NAME") or environ.get("FOREMAN_WORKER_NAME") or ""
    line = re.fullmatch(rf"({'|'.join(LINES)})\.([0-9]{{1,4}})", manager_says)
    port = environ.get("PORT", "")
    if not line or not re.fullmatch("[0-9]{1,5}", port):
        return DEFAULT_PORT
    return int(port) - PORT_STEP * LINES.index(line[1]) - (int(line[2]) - 1)
