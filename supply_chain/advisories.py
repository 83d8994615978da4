"""Known vulnerabilities of the locked versions, from the OSV service, by pip-audit."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

from supply_chain.findings import Unavailable, run, tool
from supply_chain.locked import lock_files
from supply_chain.reviewed import Reviewed

PUBLIC_SERVICE = "https://api.osv.dev/v1/query"
REACHED_WITHIN_S = 10
A_QUERY = b'{"package": {"name": "flask", "ecosystem": "PyPI"}, "version": "0.1"}'


def findings(folder: Path, reviewed: Reviewed) -> list[str]:
    """One line for each vulnerability, as pip-audit prints it.

    :raises Unavailable: if the service cannot be reached
    """
    service = os.environ.get("OSV_URL", PUBLIC_SERVICE)
    reach(service)
    words = [tool("pip-audit"), "--strict", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    words += ["--vulnerability-service", "osv", "--osv-url", service, "--timeout", str(REACHED_WITHIN_S)]
    words += [word for each in sorted(reviewed.advisories) for word in ("--ignore-vuln", each)]
    found = []
    for lock in lock_files(folder):
        audit = run([*words, "--requirement", str(lock)], folder)
        if audit.returncode:
            lines = (audit.stdout or audit.stderr).splitlines() or ["pip-audit failed without a message"]
            found += [f"{lock.relative_to(folder)}: {line}" for line in lines]
    return found


def reach(service: str) -> None:
    """Ask the service one question, so that a network that is missing is not taken for a finding.

    :raises Unavailable: if there is no answer
    """
    query = urllib.request.Request(service, data=A_QUERY, headers={"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(query, timeout=REACHED_WITHIN_S).close()
    except (urllib.error.URLError, OSError) as error:
        raise Unavailable(
            f"the vulnerability service {service} cannot be reached ({error}), so nobody has looked for known "
            "vulnerabilities. Run `make security` where the network allows it"
        ) from error
