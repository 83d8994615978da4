"""What `make run` starts: the lines of the Procfile, each with its port and environment."""

from __future__ import annotations

import errno
import os
import shlex
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from honcho.environ import ProcessParams, parse_procfile

from common.process.addresses import PORT_STEP, url_of
from common.process.settings import SettingError, Settings
from common.schema.roles import RIGHTS
from local.roles import PROCESSES, setting

DEFAULTS = {
    "BIND_HOST": "127.0.0.1",  # nothing is reachable from outside unless asked for
    "LOG_FORMAT": "text",
    "PORT": "8000",
    "PYTHONUNBUFFERED": "1",  # otherwise the output of a process appears late, in blocks
}


METRICS_OFFSET = 50
"""From the port of a process to that of its metrics."""
DOUBLE = "stripe_double"
"""The stand-in for Stripe. It runs where PAYMENT_GATEWAY is stripe and no key of Stripe's is given."""
OF_DOUBLE = "sk_test_double"


class PortTaken(Exception):
    """A service cannot listen on its port. The message is one line and says what to do."""


@dataclass(frozen=True)
class Plan:
    """The processes to run, in the Procfile's order."""

    release: str  # completes before the others start; may be empty
    commands: Mapping[str, str]
    ports: Mapping[str, int]
    environ: Mapping[str, str]

    @classmethod
    def read(cls, procfile: Path, environ: Mapping[str, str]) -> Plan:
        """Read the Procfile and check the settings once, instead of in every process.

        :raises SettingError: a setting is wrong
        """
        commands = dict(parse_procfile(procfile.read_text()).processes)
        release = commands.pop("release", "")
        env = _environment(environ)
        if needs_double := env.get("PAYMENT_GATEWAY") == "stripe" and "STRIPE_API_KEY" not in env:
            commands[DOUBLE] = (
                f"python -m stripe_double {shlex.quote(str(procfile.parent / 'var' / 'stripe.sqlite'))} $PORT"
            )
        Settings.load({**env, "DATABASE_URL": env.get("DATABASE_URL") or "postgresql://not.needed.yet"})
        highest = 65535 - PORT_STEP * (len(commands) - 1) - METRICS_OFFSET
        if int(env["PORT"]) > highest:
            raise SettingError(f"PORT must be a whole number from 1 to {highest}: the other services use higher ports")
        ports = {name: int(env["PORT"]) + PORT_STEP * i for i, name in enumerate(commands)}
        plan = cls(release, commands, ports, env)
        participants = {f"{name.upper()}_URL": plan.url(name) for name in plan.services() if name.endswith("_service")}
        env |= {"STRIPE_API_KEY": OF_DOUBLE, "STRIPE_API_BASE": plan.url(DOUBLE)} if needs_double else {}
        return cls(release, commands, ports, participants | env)  # an address in the environment wins

    def services(self) -> list[str]:
        """The processes that answer HTTP."""
        return [name for name in self.commands if name in ("web", "console") or name.endswith("_service")]

    def url(self, name: str) -> str:
        return url_of(self.environ["BIND_HOST"], self.ports[name])

    def check_ports(self) -> None:
        """Check that every service can listen on its port.

        :raises PortTaken: one cannot
        """
        host = self.environ["BIND_HOST"]
        served = {name: self.ports[name] for name in (*self.services(), *({DOUBLE} & self.commands.keys()))}
        served |= {f"the metrics of {name}": port for name in self.ports if (port := self.metrics_port(name))}
        for name, port in served.items():
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # like gunicorn, because of TIME_WAIT
                try:
                    probe.bind((host, port))
                except OSError as error:
                    raise PortTaken(self._advice(name, port, error)) from None

    def metrics_port(self, name: str) -> int:
        """0: the process has no metrics."""
        return 0 if name == DOUBLE else self.ports[name] + METRICS_OFFSET

    def _advice(self, name: str, port: int, error: OSError) -> str:
        base, host = int(self.environ["PORT"]), self.environ["BIND_HOST"]
        if error.errno == errno.EADDRINUSE:
            return (
                f"Port {port} of {name} is in use, perhaps by another `make run`. Stop that program, "
                f"or use other ports: PORT={base + 1000} make run"
            )
        return f"{name} cannot listen on port {port} of {host}: {error.strerror}. Change PORT or BIND_HOST."

    def processes(self, database_url: str) -> list[ProcessParams]:
        """The processes as honcho takes them."""
        return [
            ProcessParams(name, _in_place(command), False, self.environ_of(name, database_url))
            for name, command in self.commands.items()
        ]

    def with_environ(self, more: Mapping[str, str]) -> Plan:
        """The same, with these variables where they are not set."""
        return replace(self, environ={**more, **self.environ})

    def environ_of(self, name: str, database_url: str) -> dict[str, str]:
        """A process with a database role of its own does not get the address of another role."""
        own = {}
        if name in self.ports:
            own = {"PORT": str(self.ports[name]), "HONCHO_PROCESS_NAME": f"{name}.1"}
            own["METRICS_PORT"] = str(self.metrics_port(name) or "")
        process = PROCESSES.get(name, "")
        if not process or not self.environ.get(setting(process)):
            return {**self.environ, "DATABASE_URL": database_url, **own}
        others = {setting(other) for other in RIGHTS if other != process} | {"DATABASE_DIRECT_URL"}
        environ = {variable: value for variable, value in self.environ.items() if variable not in others}
        return {**environ, "DATABASE_URL": self.environ[setting(process)], **own}


def _in_place(command: str) -> str:
    """Let a simple command replace its shell, so that we see its own exit code."""
    if set(command) & set(";&|") or command.startswith("exec "):
        return command
    return f"exec env {command}"  # `env`, because the command may begin with NAME=value


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of all processes: ours, with defaults, and the virtual environment's programs on the PATH."""
    env = DEFAULTS | {name: value for name, value in environ.items() if value}  # an empty variable is not set
    env.pop("HONCHO_PROCESS_NAME", None)  # the migration does not end when it is set
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    return env
