"""Fuzzing: schemathesis generates valid and invalid requests from each OpenAPI document.

It runs against the real services and follows the links between operations. It calls the participants without a saga,
so the books do not agree afterwards; the next test empties them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.credentials import headers_for
from tests.faults.shared_stack import SharedStack
from tests.system.stack import PROJECT, WEB_PROCESSES

CONFIG = Path(__file__).parent / "api_documents" / "schemathesis.toml"
DEADLINE_S = 300  # about 10 s on an idle machine


@pytest.fixture(scope="module")
def services(shared_stack: SharedStack) -> Iterator[SharedStack]:
    shared_stack.reset()
    yield shared_stack
    shared_stack.reset()


@pytest.mark.parametrize("service", WEB_PROCESSES)
def test_every_answer_matches_the_document(services: SharedStack, service: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", "--no-color"]
    command += [f"{services.url(service)}/openapi.json"]
    command += ["--header", f"Authorization: {headers_for(service)['Authorization']}"]
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "KNOWN_PRODUCT": services.product(stock=1_000_000)}
    run = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    generated = re.search(r"^ *(\d+) generated, \1 passed\b", run.stdout, re.MULTILINE)
    assert generated, run.stdout
    assert int(generated[1]) > 100
    assert "Stateful (not applicable)" not in run.stdout
