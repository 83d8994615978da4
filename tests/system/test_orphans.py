"""A killed gunicorn master leaves its workers behind, unsupervised."""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path

import pytest
import requests

from tests.system.stack import Stack
from tests.waiting import eventually


def test_service_starts_again_while_the_workers_of_its_killed_master_still_finish(url: str, tmp_path: Path) -> None:
    """A worker processes a request for 20 s, but a new master gives up if the port is not free within 5 s."""
    stack = Stack(url, tmp_path)
    stack.start("payments_service", MOCK_LATENCY_MS="20000")
    orphans = stack.workers("payments_service")
    body = {"user_id": str(uuid.uuid4()), "amount_cents": 100, "currency": "USD", "payment_token": "tok_visa"}
    authorize = f"{stack.url('payments_service')}/payments/authorize"
    with pytest.raises(requests.ReadTimeout):
        requests.post(authorize, json=body | {"idempotency_key": "k"}, timeout=1)
    try:
        stack.processes["payments_service"].kill()
        stack.processes["payments_service"].wait()
        stack.launch("payments_service")
        eventually(
            lambda: stack.log("payments_service").count("listening at") == 2 and stack.is_ready("payments_service")
        )
        assert any(Path(f"/proc/{pid}").exists() for pid in orphans), "the request ended too early"
    finally:
        stack.stop_all()
        for pid in filter(lambda pid: Path(f"/proc/{pid}").exists(), orphans):
            os.kill(pid, signal.SIGKILL)
