"""A real OpenID provider in a process of its own: the package `oidc-provider` on Node."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.system.stack import free_port
from tests.waiting import eventually

FOLDER = Path(__file__).parent / "provider"
SECRET = "a-secret-of-the-console-in-tests"
ROLES = "admin=ops-admins,operator=ops,viewer=staff"


@contextmanager
def real_provider(redirect_uri: str, log: Path) -> Iterator[dict[str, str]]:
    """The settings of a console whose operators sign in there. Who signs in as `ada.ops` is ada of the group ops."""
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules" / "oidc-provider").exists():
        # In CI, a test that cannot run is a failure.
        leave = pytest.fail if os.environ.get("CI") else pytest.skip
        leave("no OpenID provider: install node, and run `npm ci` in tests/console/provider")
    issuer = f"http://localhost:{(port := free_port())}"
    with log.open("wb") as output:
        process = subprocess.Popen([str(node), str(FOLDER / "provider.js"), str(port), redirect_uri],
                                   stdout=output, stderr=output)  # fmt: skip
    try:
        eventually(lambda: process.poll() is not None or _answers(port), 30)
        assert process.poll() is None, log.read_text()
        yield {
            "CONSOLE_OIDC_ISSUER": issuer,
            "CONSOLE_OIDC_CLIENT_ID": "console",
            "CONSOLE_OIDC_CLIENT_SECRET": SECRET,
            "CONSOLE_OIDC_ROLES": ROLES,
        }
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/.well-known/openid-configuration", timeout=5).ok
    except requests.RequestException:
        return False
