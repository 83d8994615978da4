"""Known vulnerabilities, from the OSV service: of the locked versions, by pip-audit, and of vendored files."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from supply_chain.findings import Unavailable, run, tool
from supply_chain.locked import lock_files
from supply_chain.reviewed import Reviewed
from supply_chain.vendored import Component, components

PUBLIC_SERVICE = "https://api.osv.dev/v1/query"
REACHED_WITHIN_S = 10
A_QUERY = {"package": {"name": "flask", "ecosystem": "PyPI"}, "version": "0.1"}


def findings(folder: Path, reviewed: Reviewed) -> list[str]:
    """One line for each vulnerability, as pip-audit prints it.

    :raises Unavailable: if the service cannot be reached
    """
    service = os.environ.get("OSV_URL", PUBLIC_SERVICE)
    ask(service, A_QUERY)  # so that a network that is missing is not taken for a finding
    words = [tool("pip-audit"), "--strict", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    words += ["--vulnerability-service", "osv", "--osv-url", service, "--timeout", str(REACHED_WITHIN_S)]
    words += [word for each in sorted(reviewed.advisories) for word in ("--ignore-vuln", each)]
    found = []
    for lock in lock_files(folder):
        audit = run([*words, "--requirement", str(lock)], folder)
        if audit.returncode:
            lines = (audit.stdout or audit.stderr).splitlines() or ["pip-audit failed without a message"]
            found += [f"{lock.relative_to(folder)}: {line}" for line in lines]
    return found + [line for each in components(folder) for line in _of(each, service, reviewed)]


def _of(component: Component, service: str, reviewed: Reviewed) -> list[str]:
    """One line for each vulnerability of a vendored file."""
    package = {"name": component.name, "ecosystem": component.ecosystem}
    ids = {each["id"] for each in ask(service, {"package": package, "version": component.version}).get("vulns", [])}
    name = f"{component.file}: {component.name} {component.version}"
    return [f"{name} {each}" for each in sorted(ids - reviewed.advisories)]


def ask(service: str, query: dict[str, Any]) -> dict[str, Any]:
    """Ask the OSV service one question.

    :raises Unavailable: if there is no answer
    """
    body = json.dumps(query).encode()
    request = urllib.request.Request(service, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=REACHED_WITHIN_S) as answer:
            content: dict[str, Any] = json.load(answer)
            return content
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"the vulnerability service {service} cannot be reached ({error}), so nobody has looked for known "
            "vulnerabilities. Run `make security` where the network allows it"
        ) from error
